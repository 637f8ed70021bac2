//! Histograms as an SVG: latency over percentile, as HdrHistogram plots it.
//!
//! The horizontal axis is `1 / (1 - quantile)` on a logarithmic scale, so that each nine gets the
//! same room; the vertical axis is microseconds on a logarithmic scale.

use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;

use super::{HistogramError, HistogramSet, microseconds};

/// Width and height in pixels.
const SIZE: (u32, u32) = (1100, 620);

/// The last decade of the percentile axis: 99.9999 %.
const INVERSE_MAX: f64 = 1e6;

/// Draws every histogram of `set` into the file at `path`.
///
/// # Errors
/// The set is empty, or the file cannot be written.
pub fn draw(set: &HistogramSet, title: &str, path: &Path) -> Result<(), HistogramError> {
    if set.is_empty() {
        return Err(HistogramError("there is no histogram to plot".into()));
    }
    let mut svg = String::new();
    draw_into(&mut svg, set, title)
        .map_err(|error| HistogramError(format!("cannot draw {}: {error}", path.display())))?;
    std::fs::write(path, svg)
        .map_err(|error| HistogramError(format!("cannot write {}: {error}", path.display())))
}

fn draw_into(
    svg: &mut String,
    set: &HistogramSet,
    title: &str,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (low, high) = value_bounds(set);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d((1.0..inverse_max(set)).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .x_desc("percentile")
        .y_desc("microseconds")
        .x_label_formatter(&|inverse| percentile_label(*inverse))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    for (index, (tag, histogram)) in set.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(points(histogram), colour.stroke_width(2)))?
            .label(tag.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
}

/// The line of one histogram, from the median's left to its last recorded value.
fn points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    histogram
        .iter_quantiles(5)
        .map(|value| {
            let quantile = value.quantile_iterated_to();
            let inverse = if quantile < 1.0 {
                1.0 / (1.0 - quantile)
            } else {
                histogram.len() as f64
            };
            let inverse = inverse.clamp(1.0, INVERSE_MAX);
            (inverse, plotted(value.value_iterated_to()))
        })
        .collect()
}

/// A logarithmic axis has no zero: less than a nanosecond is drawn as one.
fn plotted(nanoseconds: u64) -> f64 {
    microseconds(nanoseconds.max(1))
}

fn value_bounds(set: &HistogramSet) -> (f64, f64) {
    let low = set
        .values()
        .map(|histogram| plotted(histogram.min()))
        .fold(f64::MAX, f64::min);
    let high = set
        .values()
        .map(|histogram| plotted(histogram.max()))
        .fold(0.0, f64::max);
    // One decade at least, so that a constant still has an axis.
    (low / 1.2, (high * 1.2).max(low * 10.0))
}

fn inverse_max(set: &HistogramSet) -> f64 {
    let samples = set.values().map(Histogram::len).max().unwrap_or(1);
    (samples as f64).clamp(100.0, INVERSE_MAX)
}

/// `1 / (1 - quantile)` as a percentage: 10 → 90 %, 1000 → 99.9 %.
fn percentile_label(inverse: f64) -> String {
    let percent = 100.0 - 100.0 / inverse;
    let decimals = ((inverse.log10() - 2.0).ceil().max(0.0)) as usize;
    format!("{percent:.decimals$}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_has_its_label() {
        let labels: Vec<String> = [1.0, 10.0, 100.0, 1000.0, 10_000.0].map(percentile_label).into();
        assert_eq!(labels, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn an_svg_shows_every_tag() {
        let mut histogram = Histogram::new(3).expect("digits");
        (0..=10_000u64).for_each(|value| histogram.record(value * 100).expect("grows"));
        let set = HistogramSet::from([
            ("event-latency".to_owned(), histogram.clone()),
            ("ring-wait".to_owned(), histogram),
        ]);
        let mut svg = String::new();
        draw_into(&mut svg, &set, "a job").expect("drawn");
        for text in [
            "<svg",
            "a job",
            "event-latency",
            "ring-wait",
            "99.9%",
            "polyline",
            "</svg>",
        ] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn a_histogram_of_one_value_still_has_axes() {
        let mut histogram = Histogram::new(3).expect("digits");
        histogram.record(0).expect("grows");
        let mut svg = String::new();
        draw_into(&mut svg, &HistogramSet::from([("a".to_owned(), histogram)]), "t").expect("drawn");
        assert!(svg.contains("</svg>"));
    }

    #[test]
    fn nothing_to_plot_is_told() {
        let error = draw(&HistogramSet::new(), "t", Path::new("/nowhere/x.svg")).expect_err("empty");
        assert_eq!(error.to_string(), "there is no histogram to plot");
    }
}
