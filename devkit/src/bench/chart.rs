//! The summary as a picture: plain bars.

use std::fmt::Write as _;

use serde_json::Value;

use super::report::{names, title};

const WIDTH: f64 = 880.0;
const LABELS: f64 = 330.0;
const FIGURES: f64 = 130.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;

/// One bar.
struct Bar {
    label: String,
    value: f64,
    /// The unit behind the figure.
    note: String,
    /// Whether it is the filter's own, not one that it is compared with.
    ours: bool,
}

/// An SVG of what each variant adds to a request, and how that grows, if that was measured.
pub(super) fn svg(summary: &Value) -> String {
    let added = &summary["added_us_per_request"];
    let bars = names()
        .filter_map(|name| {
            Some(Bar {
                label: title(name).to_owned(),
                value: added[name].as_f64()?,
                note: String::new(),
                ours: title(name).starts_with("Authgear"),
            })
        })
        .collect();
    let mut panels = vec![("CPU time added to each request, µs", bars)];
    if let Some(rows) = summary["growth"].as_array() {
        let bars = rows
            .iter()
            .filter_map(|row| {
                Some(Bar {
                    label: format!("{}: {}", row["of"].as_str()?, row["count"]),
                    value: row["added_us_per_request"].as_f64()?,
                    note: row["memory_mib"]
                        .as_f64()
                        .map(|memory| format!(" µs, {memory:.0} MiB"))
                        .unwrap_or_default(),
                    ours: true,
                })
            })
            .collect();
        let title = "Authgear filter, something seen before: how that grows, and Envoy's memory";
        panels.push((title, bars));
    }
    draw(&panels)
}

fn draw(panels: &[(&str, Vec<Bar>)]) -> String {
    let rows: usize = panels.iter().map(|(_, bars)| bars.len() + 2).sum();
    let height = rows as f64 * ROW + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = 10.0;
    for (title, bars) in panels {
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{}\" font-weight=\"600\">{}</text>",
            top + BAR,
            escaped(title)
        );
        top += ROW;
        let longest = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
        for bar in bars {
            draw_bar(&mut svg, bar, top, longest);
            top += ROW;
        }
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_bar(svg: &mut String, bar: &Bar, top: f64, longest: f64) {
    let length = (bar.value.max(0.0) / longest * (WIDTH - LABELS - FIGURES)).max(1.0);
    let colour = if bar.ours { "#176df3" } else { "#b4bcc8" };
    let line = top + BAR - 3.0;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{line}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABELS}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{line}\">{:.1}{}</text>",
        LABELS - 8.0,
        escaped(&bar.label),
        LABELS + length + 6.0,
        bar.value,
        bar.note,
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_chart_has_a_bar_for_each_figure() {
        let summary = json!({
            "added_us_per_request": { "noop_wasm": 8.0, "jwt_seen": 9.5, "refused": -3.0 },
            "growth": [{ "of": "keys", "count": 100, "added_us_per_request": 9.0, "memory_mib": 99.6 }],
        });
        let svg = super::svg(&summary);
        assert_eq!(svg.matches("fill=\"#176df3\"").count(), 3);
        assert_eq!(svg.matches("fill=\"#b4bcc8\"").count(), 1);
        assert!(
            svg.contains("keys: 100")
                && svg.contains("9.0 µs, 100 MiB")
                && !svg.contains("width=\"-")
        );
    }
}
