//! The rows of the table: what is divided by what, and how good each ratio has to be.

use super::measure::{Form, Load, Measure, PgBench};
use super::row::{Figure, Row};
use super::wallets::Ids;

/// `TigerBeetle` by the number of transfers in flight: thousand transfers a second, and p99 in milliseconds.
///
/// The figures are of `TigerBeetle` 0.17.9, one replica, one shared client, built from source, on the same machine, and
/// are the median of three runs at a quiet time. The client joined single transfers into batches, as `Transact` does.
/// In another hour of the same day the rates were up to 40 % lower, so they are compared as multiples of `BARE`.
const TIGERBEETLE: [(usize, f64, f64); 5] =
    [(1, 2.6, 0.9), (16, 19.0, 3.1), (64, 54.0, 7.3), (256, 114.0, 26.0), (1024, 241.0, 29.0)];

/// Thousand commits a second of bare SQLite, one after the other, on the same machine: a program in C with
/// `synchronous=FULL`.
const BARE: f64 = 6.6;

/// What a program must reach against the one that runs beside it: an older one, or the same without tokens. It is below
/// 1 by what one run cannot tell from noise.
const SIDE_BY_SIDE_MUST: f64 = 0.97;

/// Every row, with a large ledger of `large` entries.
pub fn all(large: u64) -> Vec<Row> {
    use Load::{
        FeedEvents, FeedGrpc, Grpc, GrpcHealth, Healthcheck, Past, Reads, ReadsBesideCharges, Rest, RestHot, RestPaced,
        Transact, Watched,
    };
    use Measure::{Bare, Flask, FlaskWal, OneByOne};
    let ledger = |callers, entries, ids| Measure::Ledger { callers, entries, ids };
    let (empty, empty_random) = (ledger(1024, 0, Ids::Rising), ledger(1024, 0, Ids::Random));
    let (full, full_random) = (ledger(1024, large, Ids::Rising), ledger(1024, large, Ids::Random));
    let (one_caller, half_rate) = (Measure::Service(Rest(1)), Measure::Service(RestPaced(256)));
    let tokens =
        |name, load| Row::rate(name, Measure::GuardedService(load), Measure::Service(load)).must(SIDE_BY_SIDE_MUST);
    // A row with tokens stands where its load without is measured first, so that one measurement follows the other.
    let mut rows = vec![
        Row::rate("group-commit", ledger(256, 0, Ids::Rising), OneByOne(256)).must(20.0).aim(40.0),
        Row::rate("large", full, empty).must(0.85).aim(0.95),
        Row::rate("large-random", full_random, empty_random).aim(0.5),
        Row::rate("random", full_random, empty),
        Row::rate("rest-64", Rest(64), Healthcheck(64)).must(0.45).aim(0.60),
        tokens("tokens-rest", Rest(64)),
        Row::rate("rest-256", Rest(256), Healthcheck(256)).must(0.50).aim(0.65),
        Row::rate("grpc", Grpc(256), GrpcHealth(256)).must(0.60).aim(0.75),
        tokens("tokens-grpc", Grpc(256)),
        Row::rate("transact", Transact(1000), Grpc(256)).must(6.0).aim(10.0),
        tokens("tokens-transact", Transact(256)),
        tokens("tokens-transact-1024", Transact(1024)),
        Row::latency("rest-1", Figure::P50(one_caller), Some(Figure::P50(Bare))).must(1.8).aim(1.3),
        Row::latency("paced", Figure::P99(half_rate), Some(Figure::P50(half_rate))).must(10.0).aim(4.0),
        Row::rate("overload", Rest(2560), Rest(256)).must(0.8).aim(1.0),
        Row::rate("hot", RestHot(256), Rest(256)).must(0.95).aim(1.0),
        tokens("tokens-reads", Reads(64)),
        Row::rate("reads", ReadsBesideCharges(64), Reads(64)).must(0.4).aim(0.6),
        Row::rate("past", Past(64), Reads(64)).must(0.2).aim(0.5),
        Row::rate("watched-1", Watched { callers: 256, users: 0 }, Rest(256)).must(0.95).aim(1.0),
        Row::rate("watched-100", Watched { callers: 256, users: 100 }, Rest(256)).must(0.95).aim(1.0),
        Row::rate("feed", FeedGrpc, Transact(1000)).must(1.0).aim(3.0),
        Row::rate("feed-events", FeedEvents, Transact(1000)).must(1.0).aim(3.0),
        Row::latency("past-1-p99", Figure::P99(Measure::Service(Past(1))), None).must(5.0).aim(1.0),
    ];
    for (in_flight, rate, p99) in TIGERBEETLE {
        let multiple = rate / BARE;
        let transact = Measure::Service(Transact(in_flight));
        let row = Row::rate(&format!("transact-{in_flight}"), transact, Bare).aim(multiple);
        rows.push(if in_flight >= 64 { row.must(0.6 * multiple) } else { row });
        rows.push(Row::latency(&format!("transact-{in_flight}-p99"), Figure::P99(transact), None).aim(p99));
    }
    rows.extend(on_postgres());
    rows.extend([
        Row::rate("postgres", Rest(64), statements(64)).must(2.0),
        Row::rate("flask", Rest(64), Flask(64)).must(15.0),
        Row::rate("flask-wal", Rest(64), FlaskWal(64)),
    ]);
    rows
}

/// The wallet on PostgreSQL against what PostgreSQL's own benchmark does with the same server.
fn on_postgres() -> Vec<Row> {
    let on = |load| Measure::PostgresService { load, standby: false };
    let replicated = |load| Measure::PostgresService { load, standby: true };
    let function = |clients| Measure::PgBench(PgBench { clients, form: Form::Function, standby: false });
    let waiting = Measure::PgBench(PgBench { clients: 64, form: Form::Statements, standby: true });
    let (few, many) = (Load::Transact(64), Load::Transact(1024));
    vec![
        Row::rate("pg-transact-64", on(few), statements(64)).must(6.0).aim(10.0),
        Row::rate("pg-transact-64-function", on(few), function(64)).must(4.0).aim(6.0),
        Row::rate("pg-transact-1024", on(many), statements(64)).must(10.0).aim(20.0),
        Row::rate("pg-transact-1024-function", on(many), function(64)).must(6.0).aim(12.0),
        Row::rate("pg-rest-64", on(Load::Rest(64)), statements(64)).must(4.0).aim(6.0),
        Row::rate("pg-rest-64-function", on(Load::Rest(64)), function(64)).must(2.5),
        Row::rate("pg-one", on(Load::Rest(1)), statements(1)).must(0.9).aim(1.2),
        Row::rate("pg-standby-64", replicated(few), waiting).must(6.0).aim(10.0),
        Row::rate("pg-standby-1024", replicated(many), waiting).must(6.0).aim(10.0),
        Row::rate("pg-two", Measure::TwoPostgresServices(256), on(Load::Transact(512))).must(0.5).aim(0.8),
    ]
}

/// Charges as transactions of five statements.
pub const fn statements(clients: usize) -> Measure {
    Measure::PgBench(PgBench { clients, form: Form::Statements, standby: false })
}

/// The rows of `--baseline`: the present program against an older one, which runs beside it. A rate is new ÷ old and
/// the latency is old ÷ new, so above 1 the present program is the better one.
pub fn baseline() -> Vec<Row> {
    let rate = |name, load| Row::rate(name, Measure::Service(load), Measure::OldService(load)).must(SIDE_BY_SIDE_MUST);
    let (new, old) = (Measure::Service(Load::Rest(1)), Measure::OldService(Load::Rest(1)));
    vec![
        rate("transact-64", Load::Transact(64)),
        rate("transact-256", Load::Transact(256)),
        rate("transact-1024", Load::Transact(1024)),
        rate("rest-64", Load::Rest(64)),
        rate("grpc", Load::Grpc(256)),
        Row::ratio("rest-1", Figure::P50(old), Figure::P50(new)).must(SIDE_BY_SIDE_MUST),
        rate("reads", Load::Reads(64)),
        rate("past", Load::Past(1)),
    ]
}

/// What a round measures, in order: everything that these rows and `more` need, each thing once.
pub fn plan(rows: &[Row], more: impl IntoIterator<Item = Measure>) -> Vec<Measure> {
    each_once(rows.iter().flat_map(Row::measures).chain(more))
}

/// The plan in reverse order, except that a paced load still follows the one that it goes by.
pub fn reversed(plan: &[Measure]) -> Vec<Measure> {
    each_once(plan.iter().rev().copied())
}

fn each_once(measures: impl Iterator<Item = Measure>) -> Vec<Measure> {
    let mut plan = Vec::new();
    for measure in measures {
        for measure in paced_by(measure).into_iter().chain([measure]) {
            if !plan.contains(&measure) {
                plan.push(measure);
            }
        }
    }
    plan
}

/// What the rate of a paced load is taken from: a closed loop of as many callers, measured earlier in the same round.
pub const fn paced_by(measure: Measure) -> Option<Measure> {
    match measure {
        Measure::Service(Load::RestPaced(callers)) => Some(Measure::Service(Load::Rest(callers))),
        _ => None,
    }
}
