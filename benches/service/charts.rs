//! Three charts of what was measured.

use std::fs;
use std::io;
use std::path::Path;

use super::measure::{Load, Measure};
use super::report::Summary;
use super::row::Series;
use super::rows::statements;
use super::svg::{Chart, Line, short};
use super::wallets::Ids;

/// The callers along the bottom of the first chart.
const CALLERS: [usize; 5] = [1, 16, 64, 256, 1024];
/// The percentiles along the bottom of the second chart.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

type OfCallers = fn(usize) -> Option<Measure>;

/// The lines of the first chart. Some have no value for many callers.
const BY_CALLERS: [(&str, OfCallers); 7] = [
    ("ledger only", |callers| Some(Measure::Ledger { callers, entries: 0, ids: Ids::Rising })),
    ("Transact, one stream", |callers| Some(Measure::Service(Load::Transact(callers)))),
    ("gRPC charge", |callers| Some(Measure::Service(Load::Grpc(callers)))),
    ("REST charge", |callers| Some(Measure::Service(Load::Rest(callers))).filter(|_| callers <= 256)),
    ("PostgreSQL, pgbench", |callers| Some(statements(callers)).filter(|_| callers <= 64)),
    ("Flask + sqlite3", |callers| Some(Measure::Flask(callers)).filter(|_| callers <= 64)),
    ("bare SQLite, one by one", |_| Some(Measure::Bare)),
];

/// The lines of the second chart.
const BY_PERCENTILE: [(&str, Measure); 6] = [
    ("bare SQLite commit", Measure::Bare),
    ("REST, one caller", Measure::Service(Load::Rest(1))),
    ("REST, half of the top rate", Measure::Service(Load::RestPaced(256))),
    ("REST, 64 connections", Measure::Service(Load::Rest(64))),
    ("gRPC, 256 in flight", Measure::Service(Load::Grpc(256))),
    ("Transact, 1024 in flight", Measure::Service(Load::Transact(1024))),
];

/// The lines of the third chart.
const BY_SIZE: [(&str, Ids); 2] = [("rising event ids", Ids::Rising), ("random event ids", Ids::Random)];

const fn sizes(large: u64) -> [u64; 4] {
    [0, large / 100, large / 10, large]
}

const fn of_size(entries: u64, ids: Ids) -> Measure {
    Measure::Ledger { callers: 1024, entries, ids }
}

/// What the charts show.
pub fn measures(large: u64) -> Vec<Measure> {
    let by_size = sizes(large).into_iter().flat_map(|size| BY_SIZE.map(|(_, ids)| of_size(size, ids)));
    let by_callers = BY_CALLERS.iter().flat_map(|(_, of)| CALLERS.into_iter().filter_map(of));
    by_size.chain(by_callers).chain(BY_PERCENTILE.map(|(_, measure)| measure)).collect()
}

/// Draws the charts into `dir`.
pub fn draw(dir: &Path, series: &Series, large: u64) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, chart) in
        [("callers", by_callers(series)), ("latency", latency(series)), ("size", by_size(series, large))]
    {
        fs::write(dir.join(name).with_extension("svg"), chart.draw())?;
    }
    Ok(())
}

fn summary(series: &Series, measure: Measure) -> Option<Summary> {
    series.get(&measure).and_then(|samples| Summary::of(samples))
}

fn rate(series: &Series, measure: Measure) -> Option<f64> {
    Some(summary(series, measure)?.rate.median)
}

/// The lines that have any value.
fn lines(lines: impl IntoIterator<Item = Line>) -> Vec<Line> {
    lines.into_iter().filter(|line| line.values.iter().any(Option::is_some)).collect()
}

fn by_callers(series: &Series) -> Chart<'static> {
    let line = |(name, of): (&str, OfCallers)| {
        let values = CALLERS.map(|callers| of(callers).and_then(|measure| rate(series, measure))).to_vec();
        Line { name: name.to_owned(), values }
    };
    Chart {
        title: "Charges a second by callers in flight",
        x_label: "callers in flight",
        y_label: "charges a second",
        places: CALLERS.map(|callers| callers.to_string()).to_vec(),
        lines: lines(BY_CALLERS.map(line)),
        log: true,
    }
}

fn latency(series: &Series) -> Chart<'static> {
    let line = |(name, measure): (&str, Measure)| {
        let summary = summary(series, measure);
        let values = PERCENTILES.map(|at| summary.as_ref().and_then(|summary| summary.percentile(at))).to_vec();
        Line { name: name.to_owned(), values }
    };
    let place = |at: f64| if at < 100.0 { format!("{at} %") } else { "slowest".to_owned() };
    Chart {
        title: "How long a charge takes",
        x_label: "share of charges that took no longer",
        y_label: "milliseconds",
        places: PERCENTILES.map(place).to_vec(),
        lines: lines(BY_PERCENTILE.map(line)),
        log: true,
    }
}

fn by_size(series: &Series, large: u64) -> Chart<'static> {
    let line = |(name, ids): (&str, Ids)| {
        let values = sizes(large).map(|size| rate(series, of_size(size, ids))).to_vec();
        Line { name: name.to_owned(), values }
    };
    Chart {
        title: "Charges a second by entries already there, ledger only, 1024 in flight",
        x_label: "entries already there",
        y_label: "charges a second",
        places: sizes(large).map(|size| short(size as f64)).to_vec(),
        lines: lines(BY_SIZE.map(line)),
        log: false,
    }
}
