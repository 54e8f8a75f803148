//! A row of the table: a figure, or one divided by another.

use std::collections::HashMap;

use super::measure::Measure;
use super::sample::Sample;

/// The samples of each thing measured, one a round.
pub type Series = HashMap<Measure, Vec<Sample>>;

/// A figure of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Operations a second.
    Rate(Measure),
    /// In milliseconds.
    P50(Measure),
    P99(Measure),
}

impl Figure {
    pub const fn measure(self) -> Measure {
        let (Self::Rate(measure) | Self::P50(measure) | Self::P99(measure)) = self;
        measure
    }

    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Rate(_) => sample.rate(),
            Self::P50(_) => sample.latencies.percentile(50.0),
            Self::P99(_) => sample.latencies.percentile(99.0),
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Rate(_) => "",
            Self::P50(_) => ", p50",
            Self::P99(_) => ", p99",
        }
    }
}

/// The least, the median and the most of all rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    /// `None` if there are no rounds.
    pub fn of(rounds: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = rounds.collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { least, median: f64::midpoint(low, high), most })
    }
}

/// One row of the table.
pub struct Row {
    pub name: String,
    pub what: Figure,
    /// What it is divided by, round by round.
    pub against: Option<Figure>,
    pub must: Option<f64>,
    pub aim: Option<f64>,
    pub less_is_better: bool,
}

impl Row {
    /// A ratio of which more is better.
    pub fn ratio(name: &str, what: Figure, against: Figure) -> Self {
        Self { name: name.to_owned(), what, against: Some(against), must: None, aim: None, less_is_better: false }
    }

    /// A ratio of two rates.
    pub fn rate(name: &str, what: impl Into<Measure>, against: impl Into<Measure>) -> Self {
        Self::ratio(name, Figure::Rate(what.into()), Figure::Rate(against.into()))
    }

    /// A latency, in milliseconds or divided by another.
    pub fn latency(name: &str, what: Figure, against: Option<Figure>) -> Self {
        Self { name: name.to_owned(), what, against, must: None, aim: None, less_is_better: true }
    }

    pub fn must(self, must: f64) -> Self {
        Self { must: Some(must), ..self }
    }

    pub fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// What has to be measured. The divisor is measured first, because a paced load goes by it.
    pub fn measures(&self) -> impl Iterator<Item = Measure> {
        self.against.into_iter().chain([self.what]).map(Figure::measure)
    }

    pub fn title(&self) -> String {
        let title = |figure: Figure| format!("{}{}", figure.measure(), figure.suffix());
        match self.against {
            Some(against) if against.measure() == self.what.measure() => {
                format!("{} / its {}", title(self.what), against.suffix().trim_start_matches(", "))
            }
            Some(against) => match (self.what.measure(), against.measure()) {
                (Measure::Service(_), Measure::OldService(_)) => format!("{}, new / old", title(self.what)),
                (Measure::GuardedService(_), Measure::Service(_)) => format!("{} / without", title(self.what)),
                (Measure::OldService(_), Measure::Service(_)) => format!("{}, old / new", title(against)),
                _ => format!("{} / {}", title(self.what), title(against)),
            },
            None => format!("{} (ms)", title(self.what)),
        }
    }

    pub fn spread(&self, series: &Series) -> Option<Spread> {
        let rounds = |figure: Figure| Some(series.get(&figure.measure())?.iter().map(move |sample| figure.of(sample)));
        let what = rounds(self.what)?;
        match self.against {
            Some(against) => Spread::of(what.zip(rounds(against)?).map(|(what, against)| what / against)),
            None => Spread::of(what),
        }
    }

    pub fn reached(&self, median: f64) -> &'static str {
        let good = |limit: f64| if self.less_is_better { median <= limit } else { median >= limit };
        match (self.must.map(good), self.aim.map(good)) {
            (Some(false), _) => "no",
            (_, Some(true)) => "aim",
            (Some(true), _) => "must",
            (None, Some(false)) => "not the aim",
            (None, None) => "",
        }
    }
}
