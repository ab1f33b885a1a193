//! The plot: one group of bars for each measurement, all of one unit on one scale.

use std::fmt::Write as _;

use vnet_gw_tests::report::{Report, Row, digits};

const LABELS: usize = 260;
const BAR: usize = 430;
const VALUE: usize = 150;
const LINE: usize = 18;
const GAP: usize = 12;
const TOP: usize = 46;

/// The same colour for a subject wherever it stands.
fn colour(subject: &str) -> &'static str {
    match subject {
        "kernel" => "#8c8c8c",
        "bare" => "#c9a227",
        "xdp" | "ours" | "vnet-gw" => "#1f6fb4",
        "tcx" => "#3a9d6e",
        _ => "#b4553f",
    }
}

/// Median bars with a line from the lowest to the highest round.
pub(crate) fn draw(report: &Report, title: &str) -> String {
    let mut body = String::new();
    let mut y = TOP;
    let mut rest = report.rows.as_slice();
    while let Some(first) = rest.first() {
        let group = rest.iter().take_while(|row| row.name == first.name).count();
        let (rows, next) = rest.split_at(group);
        rest = next;
        let top = highest(report, first.unit);
        for (i, row) in rows.iter().enumerate() {
            let name = if i == 0 { row.name.as_str() } else { "" };
            bar(&mut body, row, name, y, top);
            y += LINE;
        }
        y += GAP;
    }
    let width = LABELS + BAR + VALUE;
    // Writing to a string does not fail, here and below.
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{y}\" \
         viewBox=\"0 0 {width} {y}\" font-family=\"sans-serif\" font-size=\"12\">"
    );
    let _ = writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"24\" font-size=\"15\">{}</text>",
        escape(title)
    );
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

fn highest(report: &Report, unit: &str) -> f64 {
    let rows = report.rows.iter().filter(|row| row.unit == unit);
    rows.flat_map(|row| &row.values)
        .copied()
        .fold(0.0, f64::max)
}

fn bar(body: &mut String, row: &Row, name: &str, y: usize, top: f64) {
    let scale = |value: f64| {
        if top > 0.0 {
            value / top * BAR as f64
        } else {
            0.0
        }
    };
    let middle = y + LINE / 2;
    let text = middle + 4;
    let low = row.values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = row.values.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{text}\" font-weight=\"bold\">{}</text>",
        escape(name)
    );
    let _ = writeln!(
        body,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
        LABELS - 6,
        escape(&row.subject)
    );
    let _ = writeln!(
        body,
        "<rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>",
        y + 2,
        scale(row.median),
        LINE - 4,
        colour(&row.subject)
    );
    let _ = writeln!(
        body,
        "<line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"black\"/>",
        LABELS as f64 + scale(low),
        LABELS as f64 + scale(high)
    );
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{text}\">{} {}</text>",
        LABELS as f64 + scale(high) + 6.0,
        digits(row.median),
        escape(row.unit)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
