//! One run: every round measures everything, and the report follows.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::charts;
use super::footprint::Footprint;
use super::harness::Harness;
use super::measure::Measure;
use super::options::Options;
use super::process::Program;
use super::report::Report;
use super::row::{Row, Series};
use super::rows;
use super::sample::{Sample, Window};

/// How much longer than planned a measurement may take before it counts as hung.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(120);

/// Measures what `rows` need, and prints the report.
pub async fn run(options: &Options, rows: &[Row]) {
    let programs = options.baseline.as_deref().map(programs).unwrap_or_default();
    let charted = if options.charts.is_some() { charts::measures(options.large()) } else { Vec::new() };
    let plan = rows::plan(rows, charted);
    let dir = TempDir::new_in(&options.dir).expect("a temporary folder");
    let mut harness = Harness::start(dir, options.time(), &plan, options.baseline.clone()).await;
    let series = measure_rounds(options, &plan, &mut harness).await;
    let mut footprint = Footprint::default();
    if let Some(service) = &harness.service {
        footprint.add_service("", service);
    }
    if let Some(service) = &harness.guarded_service {
        footprint.add_service("with tokens: ", service);
    }
    if let Some(service) = &harness.old_service {
        footprint.add_service("old program: ", service);
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
    let report = Report { programs: &programs, rows, plan: &plan, series: &series, footprint, skipped };
    if options.json {
        println!("{:#}", report.json());
    } else {
        report.print();
    }
}

/// The two programs that are compared, by name.
fn programs(baseline: &Path) -> Vec<(&'static str, String)> {
    let programs = [("new", Program::Present), ("old", Program::Old(baseline.to_owned()))];
    let described = programs.map(|(name, program)| (name, program.describe().expect("it runs")));
    for (name, program) in &described {
        eprintln!("{name}: {program}");
    }
    described.into()
}

async fn measure_rounds(options: &Options, plan: &[Measure], harness: &mut Harness) -> Series {
    let mut series = Series::new();
    for round in 1..=options.rounds {
        // Both sides of a ratio take turns in being first: neither always gets the better half of a disturbance.
        let order = if round % 2 == 0 { rows::reversed(plan) } else { plan.to_vec() };
        for (number, measure) in order.into_iter().enumerate() {
            eprintln!("round {round} of {}, {} of {}: {measure}", options.rounds, number + 1, plan.len());
            let measured =
                timeout(options.time() + TIMEOUT_MARGIN, harness.measure(measure, top_rate(&series, measure)));
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
