//! One run: every round measures everything, and the report follows.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::charts;
use super::footprint::Footprint;
use super::harness::Harness;
use super::measure::Measure;
use super::options::Options;
use super::report::Report;
use super::row::{Row, Series};
use super::rows;
use super::sample::{Sample, Window};

/// How much longer than planned a measurement may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures what `rows` need, and prints the report.
pub async fn run(options: &Options, rows: &[Row]) {
    let charted = if options.charts.is_some() { charts::measures(options.large()) } else { Vec::new() };
    let plan = rows::plan(rows, charted);
    let dir = TempDir::new_in(&options.dir).expect("a temporary folder");
    let mut harness = Harness::start(dir, options.time(), &plan).await;
    let series = measure_rounds(options, &plan, &mut harness).await;
    let mut footprint = Footprint::default();
    if let Some(service) = &harness.service {
        footprint.add_service(service);
    }
    let skipped = harness.peers.skipped.clone();
    eprintln!("verifying every ledger");
    let (_dir, largest) = harness.finish().await;
    if let Some((size, template)) = largest {
        footprint.add_large(size, &template, Window::of(options.time())).await;
    }
    if let Some(dir) = &options.charts {
        charts::draw(dir, &series, options.large()).expect("the charts can be written");
    }
    let (footprint, skipped) = (&footprint, &skipped);
    let report = Report { rows, plan: &plan, series: &series, footprint, skipped };
    if options.json {
        println!("{:#}", report.json());
    } else {
        report.print();
    }
}

async fn measure_rounds(options: &Options, plan: &[Measure], harness: &mut Harness) -> Series {
    let mut series = Series::new();
    for round in 1..=options.rounds {
        for (number, measure) in plan.iter().copied().enumerate() {
            eprintln!("round {round} of {}, {} of {}: {measure}", options.rounds, number + 1, plan.len());
            let measured = timeout(options.time() + PATIENCE, harness.measure(measure, top_rate(&series, measure)));
            if let Some(sample) = measured.await.expect("it does not hang") {
                series.entry(measure).or_default().push(sample);
            }
        }
    }
    series
}

/// What a paced load goes by: the rate that as many callers just reached in a closed loop.
fn top_rate(series: &Series, measure: Measure) -> f64 {
    let samples = rows::paced_by(measure).and_then(|measure| series.get(&measure));
    samples.and_then(|samples| samples.last()).map_or(0.0, Sample::rate)
}
