//! The REST API against its own OpenAPI description, by a fuzzer that knows nothing else of it.

use std::process::{Command, Output};

use crate::support::app::App;
use crate::support::optional;
use crate::support::seed::rounds;

/// A batch is answered 200 also when one of its commands is malformed: each is decided on its own.
const CONFIG: &str =
    "[[operations]]\ninclude-path = \"/api/v1/batch\"\nchecks.negative_data_rejection.enabled = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let Some([schemathesis]) = optional::programs("Schemathesis", ["schemathesis"]) else { return };
    let app = App::spawn().await;
    // The user of the description's examples, so that they reach a wallet.
    app.create_user(123_123, "1000000.00").await;
    let mut command = Command::new(schemathesis);
    command.arg("run").arg(format!("http://{}/api/v1/openapi.json", app.http));
    command.args(["--seed", "1", "--max-examples", &rounds(60, 2_000).to_string(), "--warnings", "off"]);
    // It would have every well-formed request accepted. An unknown user or an empty wallet is answered 400, as it is
    // by the system whose API this is.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    // It would wait for the end of the stream, which has none.
    command.args(["--exclude-path", "/api/v1/ledger/entries/stream"]);
    // It keeps what it found in the folder where it runs.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), CONFIG).unwrap();
    command.current_dir(dir.path());
    let output = tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.unwrap();
    let Output { status, stdout, stderr } = output;
    let printed = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{printed}");
    assert!(printed.contains("18 selected / 19 total"), "{printed}");
    let generated = printed.lines().find(|line| line.contains("generated")).unwrap_or_default();
    println!("Schemathesis: {}", generated.trim());
    drop(app.stop().await);
}
