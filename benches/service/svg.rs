//! A line chart as SVG, readable on light and on dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 380.0;
const LEGEND_STEP: f64 = 22.0;

/// Colours for all kinds of colour vision (Okabe and Ito, 2008), without black.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#b8a800"];

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.grid { stroke: #888888; stroke-opacity: 0.3 }
.line { fill: none; stroke-width: 2 }
.page { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .page { fill: #0d1117 } }";

pub struct Chart<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    /// The labels along the bottom. The places are equally far apart, whatever the labels say.
    pub places: Vec<String>,
    pub lines: Vec<Line>,
    /// Whether the vertical axis is logarithmic.
    pub log: bool,
}

pub struct Line {
    pub name: String,
    /// One value for each place; `None` if it is not known.
    pub values: Vec<Option<f64>>,
}

/// Converts a value to a height on the page.
struct Scale {
    ticks: Vec<f64>,
    log: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, log: bool) -> Self {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        if !log {
            let step = round_up(most / 5.0);
            let ticks = (0..=5).map(|tick| f64::from(tick) * step);
            return Self { ticks: ticks.take_while(|tick| *tick < most + step).collect(), log };
        }
        let least = values.fold(most, f64::min);
        let decades = least.log10().floor()..=most.log10().ceil().max(least.log10().floor() + 1.0);
        let ticks = std::iter::successors(Some(*decades.start()), |decade| Some(decade + 1.0));
        Self {
            ticks: ticks.take_while(|decade| decades.contains(decade)).map(|decade| 10_f64.powf(decade)).collect(),
            log,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let along = |value: f64| if self.log { value.log10() } else { value };
        let (low, high) = (along(self.ticks[0]), along(self.ticks[self.ticks.len() - 1]));
        BOTTOM - (along(value) - low) / (high - low) * (BOTTOM - TOP)
    }
}

/// The least of 1, 2, 5, 10, 20, … that is not below `value`.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade).find(|step| *step >= value).unwrap_or(value)
}

/// A number with a letter for its size.
pub fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Chart<'_> {
    pub fn draw(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
            title = escaped(self.title)
        );
        let scale = Scale::of(self.lines.iter().flat_map(|line| line.values.iter().copied().flatten()), self.log);
        self.draw_axes(&mut svg, &scale);
        for (number, line) in self.lines.iter().enumerate() {
            self.draw_line(&mut svg, &scale, number, line);
        }
        svg + "</svg>\n"
    }

    fn x(&self, place: usize) -> f64 {
        let step = (RIGHT - LEFT) / (self.places.len() as f64);
        LEFT + step * (place as f64 + 0.5)
    }

    fn draw_axes(&self, svg: &mut String, scale: &Scale) {
        for tick in &scale.ticks {
            let y = scale.y(*tick);
            // `powf` is not always exact, and the label must be.
            let label = short((tick * 1e6).round() / 1e6);
            let _ = writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
            let (x, y) = (LEFT - 8.0, y + 4.0);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>");
        }
        for (place, label) in self.places.iter().enumerate() {
            let (x, y) = (self.x(place), BOTTOM + 20.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escaped(label));
        }
        let (x, y) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
        let (x_label, y_label) = (escaped(self.x_label), escaped(self.y_label));
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text>", BOTTOM + 44.0);
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 16 {y})\"");
        let _ = writeln!(svg, "<text x=\"16\" y=\"{y}\" {turned}>{y_label}</text>");
    }

    fn draw_line(&self, svg: &mut String, scale: &Scale, number: usize, line: &Line) {
        let colour = COLOURS[number % COLOURS.len()];
        let values = line.values.iter().enumerate().filter_map(|(place, value)| Some((place, (*value)?)));
        let points: Vec<_> = values.map(|(place, value)| (self.x(place), scale.y(value))).collect();
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>", path.join(" "));
        for (x, y) in points {
            let _ = writeln!(svg, "<circle fill=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
        }
        let (x, y) = (RIGHT + 24.0, TOP + 10.0 + number as f64 * LEGEND_STEP);
        let _ = writeln!(svg, "<circle fill=\"{colour}\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", x + 12.0, y + 4.0, escaped(&line.name));
    }
}
