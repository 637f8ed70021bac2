//! Which windows a moment falls into.

use crate::plan::WindowKind;
use crate::time::EventTimeUs;

/// Calls `visit(start, end)` for every window that holds `at`, the earliest end first.
pub fn windows_of(kind: WindowKind, offset_us: i64, at: EventTimeUs, mut visit: impl FnMut(i64, i64)) {
    let floor = |unit: i64| (at - offset_us).div_euclid(unit) * unit + offset_us;
    match kind {
        WindowKind::Tumble { size_us } => {
            let start = floor(size_us);
            visit(start, start + size_us);
        }
        WindowKind::Hop { size_us, slide_us } => {
            let last = floor(slide_us);
            // The earliest window that still holds the moment: start > at - size.
            let before = (size_us - 1 - (at - last)).div_euclid(slide_us);
            for back in (0..=before).rev() {
                let start = last - back * slide_us;
                visit(start, start + size_us);
            }
        }
        WindowKind::Session { .. } => unreachable!("invariant: sessions depend on the rows"),
        WindowKind::Cumulate { size_us, step_us } => {
            let start = floor(size_us);
            let first = (at - start).div_euclid(step_us) + 1;
            for step in first..=size_us / step_us {
                visit(start, start + step * step_us);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: WindowKind, offset_us: i64, at: i64, expected: &[(i64, i64)]) {
        let mut found = Vec::new();
        windows_of(kind, offset_us, at, |start, end| found.push((start, end)));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tumbling_window_starts_at_a_multiple_of_its_size() {
        check(WindowKind::Tumble { size_us: 10 }, 0, 25, &[(20, 30)]);
        check(WindowKind::Tumble { size_us: 10 }, 3, 22, &[(13, 23)]);
        check(WindowKind::Tumble { size_us: 10 }, 0, -1, &[(-10, 0)]);
    }

    #[test]
    fn hopping_windows_overlap() {
        check(
            WindowKind::Hop {
                size_us: 10,
                slide_us: 5,
            },
            0,
            12,
            &[(5, 15), (10, 20)],
        );
        check(
            WindowKind::Hop {
                size_us: 6,
                slide_us: 4,
            },
            0,
            7,
            &[(4, 10)],
        );
        check(
            WindowKind::Hop {
                size_us: 6,
                slide_us: 4,
            },
            0,
            9,
            &[(4, 10), (8, 14)],
        );
    }

    #[test]
    fn a_hop_longer_than_its_windows_leaves_gaps() {
        check(
            WindowKind::Hop {
                size_us: 2,
                slide_us: 5,
            },
            0,
            3,
            &[],
        );
        check(
            WindowKind::Hop {
                size_us: 2,
                slide_us: 5,
            },
            0,
            6,
            &[(5, 7)],
        );
    }

    #[test]
    fn cumulating_windows_share_their_start() {
        check(
            WindowKind::Cumulate {
                size_us: 12,
                step_us: 4,
            },
            0,
            5,
            &[(0, 8), (0, 12)],
        );
        check(
            WindowKind::Cumulate {
                size_us: 12,
                step_us: 4,
            },
            0,
            12,
            &[(12, 16), (12, 20), (12, 24)],
        );
    }
}
