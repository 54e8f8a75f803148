//! The table: what is set against what, and how good it has to be.

use std::collections::HashMap;

use super::harness::Measure;
use super::load::Sample;
use super::wallets::Ids;

/// What every round saw of each thing measured.
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
            Self::P50(_) => sample.latency.value_at_quantile(0.50) as f64 / 1e3,
            Self::P99(_) => sample.latency.value_at_quantile(0.99) as f64 / 1e3,
        }
    }

    fn name(self) -> &'static str {
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
    /// `None` if there is nothing.
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
    /// Whether less is better.
    pub less: bool,
}

impl Row {
    fn rate(name: &str, what: Measure, against: Measure) -> Self {
        let (what, against) = (Figure::Rate(what), Some(Figure::Rate(against)));
        Self { name: name.to_owned(), what, against, must: None, aim: None, less: false }
    }

    /// A latency, in milliseconds or against another.
    fn latency(name: &str, what: Figure, against: Option<Figure>) -> Self {
        Self { name: name.to_owned(), what, against, must: None, aim: None, less: true }
    }

    fn must(self, must: f64) -> Self {
        Self { must: Some(must), ..self }
    }

    fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    pub fn measures(&self) -> impl Iterator<Item = Measure> {
        // What comes second is measured first: it is the yardstick, and a paced load goes by it.
        self.against.into_iter().chain([self.what]).map(Figure::measure)
    }

    pub fn title(&self) -> String {
        let title = |figure: Figure| format!("{}{}", figure.measure(), figure.name());
        match self.against {
            Some(against) if against.measure() == self.what.measure() => {
                format!("{} / its {}", title(self.what), against.name().trim_start_matches(", "))
            }
            Some(against) => format!("{} / {}", title(self.what), title(against)),
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
        let good = |limit: f64| if self.less { median <= limit } else { median >= limit };
        match (self.must.map(good), self.aim.map(good)) {
            (Some(false), _) => "no",
            (_, Some(true)) => "aim",
            (Some(true), _) => "must",
            (None, Some(false)) => "not the aim",
            (None, None) => "",
        }
    }
}

/// `TigerBeetle` by the number of transfers in flight: thousand transfers a second, and p99 in milliseconds.
///
/// The figures are of `TigerBeetle` 0.17.9, one replica, one shared client, built from source, on the same machine, and
/// are the median of three runs at a quiet time. The client joined single transfers into batches, as `Transact` does. In
/// another hour of the same day the rates were up to 40 % lower, so they are compared as multiples of `BARE`.
const TIGERBEETLE: [(usize, f64, f64); 5] =
    [(1, 2.6, 0.9), (16, 19.0, 3.1), (64, 54.0, 7.3), (256, 114.0, 26.0), (1024, 241.0, 29.0)];

/// Thousand commits a second of bare SQLite, one after the other: a program in C with `synchronous=FULL`, measured in the
/// same session as `TIGERBEETLE`.
const BARE: f64 = 6.6;

/// Every row, with a large ledger of so many entries.
pub fn all(large: u64) -> Vec<Row> {
    use Measure::{
        Bare, Flask, FlaskWal, Grpc, GrpcHealth, Healthcheck, OneByOne, Postgres, Reads, ReadsBesideCharges, Rest,
        RestHot, RestPaced, Transact,
    };
    let ledger = |callers, entries, ids| Measure::Ledger { callers, entries, ids };
    let (empty, empty_random) = (ledger(1024, 0, Ids::Rising), ledger(1024, 0, Ids::Random));
    let (full, full_random) = (ledger(1024, large, Ids::Rising), ledger(1024, large, Ids::Random));
    let mut rows = vec![
        Row::rate("group-commit", ledger(256, 0, Ids::Rising), OneByOne(256)).must(20.0).aim(40.0),
        Row::rate("large", full, empty).must(0.85).aim(0.95),
        Row::rate("large-random", full_random, empty_random).aim(0.5),
        Row::rate("random", full_random, empty),
        Row::rate("rest-64", Rest(64), Healthcheck(64)).must(0.45).aim(0.60),
        Row::rate("rest-256", Rest(256), Healthcheck(256)).must(0.50).aim(0.65),
        Row::rate("grpc", Grpc(256), GrpcHealth(256)).must(0.60).aim(0.75),
        Row::rate("transact", Transact(1000), Grpc(256)).must(6.0).aim(10.0),
        Row::latency("rest-1", Figure::P50(Rest(1)), Some(Figure::P50(Bare))).must(1.8).aim(1.3),
        Row::latency("paced", Figure::P99(RestPaced(256)), Some(Figure::P50(RestPaced(256)))).must(10.0).aim(4.0),
        Row::rate("overload", Rest(2560), Rest(256)).must(0.8).aim(1.0),
        Row::rate("hot", RestHot(256), Rest(256)).must(0.95).aim(1.0),
        Row::rate("reads", ReadsBesideCharges(64), Reads(64)).must(0.4).aim(0.6),
    ];
    for (callers, rate, p99) in TIGERBEETLE {
        let multiple = rate / BARE;
        let row = Row::rate(&format!("transact-{callers}"), Transact(callers), Bare).aim(multiple);
        rows.push(if callers >= 64 { row.must(0.6 * multiple) } else { row });
        rows.push(Row::latency(&format!("transact-{callers}-p99"), Figure::P99(Transact(callers)), None).aim(p99));
    }
    rows.extend([
        Row::rate("postgres", Rest(64), Postgres(64)).must(2.0),
        Row::rate("flask", Rest(64), Flask(64)).must(15.0),
        Row::rate("flask-wal", Rest(64), FlaskWal(64)),
    ]);
    rows
}

/// What each round measures, in order: everything that these rows need, once, then what they need as well.
pub fn plan(rows: &[Row], more: impl IntoIterator<Item = Measure>) -> Vec<Measure> {
    let mut plan = Vec::new();
    for measure in rows.iter().flat_map(Row::measures).chain(more) {
        // A paced load goes by the top rate of the same round.
        let needs = if let Measure::RestPaced(callers) = measure { Some(Measure::Rest(callers)) } else { None };
        for measure in needs.into_iter().chain([measure]) {
            if !plan.contains(&measure) {
                plan.push(measure);
            }
        }
    }
    plan
}
