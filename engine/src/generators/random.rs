//! Random numbers by position: a hash of seed, stream and event number instead of a sequence.
//!
//! The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable
//! pseudorandom number generators", 2014), applied twice.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn finalise(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The random numbers of one column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    base: u64,
}

impl Stream {
    /// Stream `number` of `seed`; streams are independent of each other.
    pub(super) fn new(seed: u64, number: u64) -> Stream {
        let base = finalise(seed.wrapping_add(GOLDEN)) ^ finalise(number.wrapping_mul(GOLDEN) ^ GOLDEN);
        Stream { base }
    }

    /// The first number of event `event`.
    pub(super) fn at(self, event: u64) -> u64 {
        finalise(self.base.wrapping_add(event.wrapping_mul(GOLDEN)))
    }

    /// As many numbers as event `event` needs.
    pub(super) fn draws(self, event: u64) -> Draws {
        Draws {
            state: self.at(event),
        }
    }
}

/// A sequence of numbers that belong to one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    state: u64,
}

impl Draws {
    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        finalise(self.state)
    }

    /// The next number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        below(self.next(), bound)
    }

    /// Appends `length` lower-case letters.
    pub(super) fn letters(&mut self, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            // Eight letters from one draw: 26 of 256 values of each byte, scaled.
            let bytes = self
                .next()
                .to_le_bytes()
                .map(|byte| b'a' + ((u16::from(byte) * 26) >> 8) as u8);
            let wanted = (end - out.len()).min(bytes.len());
            out.extend_from_slice(&bytes[..wanted]);
        }
    }
}

/// A number below `bound` from 64 random bits (Lemire's multiplication).
pub(super) fn below(bits: u64, bound: u64) -> u64 {
    assert!(bound > 0, "invariant: a draw has something to choose from");
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// A number in [0, 1) from 64 random bits.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly() {
        let stream = Stream::new(42, 7);
        let mut counts = [0u32; 10];
        for event in 0..100_000 {
            counts[below(stream.at(event), 10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&count| (9_500..10_500).contains(&count)),
            "{counts:?}"
        );
        let mean = (0..100_000).map(|event| unit(stream.at(event))).sum::<f64>() / 1e5;
        assert!((0.49..0.51).contains(&mean), "{mean}");
    }

    #[test]
    fn streams_and_seeds_differ() {
        let numbers: std::collections::BTreeSet<u64> = (0..10)
            .flat_map(|seed| (0..10).map(move |stream| Stream::new(seed, stream).at(0)))
            .collect();
        assert_eq!(numbers.len(), 100);
    }
}
