//! The files for Docker Compose: what they name is there, and what PostgreSQL is told, it takes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::optional;
use crate::support::postgres::{Database, Server};

/// Reads YAML from standard input and writes it as JSON. What Compose's tag `!override` stands before is kept.
const TO_JSON: &str = "
import json, sys, yaml
class Loader(yaml.SafeLoader): pass
def override(loader, node):
    construct = loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping
    return construct(node, deep=True)
Loader.add_constructor('!override', override)
json.dump(yaml.load(sys.stdin, Loader), sys.stdout)
";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// The file of one deployment; `None`, after saying so, if a program is missing.
fn read(name: &str) -> Option<Value> {
    let test = "the files for Compose";
    let [python] = optional::programs(test, ["python3"])?;
    if !Command::new(&python).args(["-c", "import yaml"]).output().unwrap().status.success() {
        optional::skip(test, "needs PyYAML, as `.ci/requirements.txt` has it");
        return None;
    }
    let file = File::open(deploy().join(name)).unwrap();
    let output = Command::new(&python).args(["-c", TO_JSON]).stdin(file).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// What a file and the one that it is laid over name, together.
fn names<'f>(base: &'f Value, over: &'f Value, section: &str) -> BTreeSet<&'f str> {
    keys(&base[section]).union(&keys(&over[section])).copied().collect()
}

#[test]
fn whatever_a_service_names_is_there() {
    let Some(base) = read("compose.yaml") else { return };
    for name in ["compose.yaml", "compose.caddy.yaml", "compose.envoy.yaml", "compose.postgres.yaml"] {
        let over = read(name).unwrap();
        let [services, networks, secrets, volumes] =
            ["services", "networks", "secrets", "volumes"].map(|section| names(&base, &over, section));
        for (service, settings) in over["services"].as_object().unwrap() {
            for other in keys(&settings["depends_on"]) {
                assert!(services.contains(other), "{name}: {service} depends on {other}");
            }
            let named = texts(&settings["networks"]).into_iter().chain(keys(&settings["networks"]));
            for network in named {
                assert!(networks.contains(network), "{name}: {service} is in {network}");
            }
            for secret in texts(&settings["secrets"]) {
                assert!(secrets.contains(secret), "{name}: {service} has {secret}");
            }
            for volume in texts(&settings["volumes"]) {
                let source = volume.split(':').next().unwrap();
                // The operator makes the certificates.
                let is_there = match source.strip_prefix("./") {
                    Some(file) => file == "tls" || deploy().join(file).exists(),
                    None => volumes.contains(source),
                };
                assert!(is_there, "{name}: {service} mounts {source}");
            }
        }
        let ignored = fs::read_to_string(deploy().join(".gitignore")).unwrap();
        for (secret, settings) in over["secrets"].as_object().into_iter().flatten() {
            let file = settings["file"].as_str().unwrap().strip_prefix("./").unwrap();
            assert!(ignored.lines().any(|line| line == file), "{name}: {secret} could be committed");
        }
    }
}

#[test]
fn every_service_has_the_least_rights() {
    let Some(base) = read("compose.yaml") else { return };
    for name in ["compose.yaml", "compose.postgres.yaml"] {
        let over = read(name).unwrap();
        for (service, settings) in over["services"].as_object().unwrap() {
            let of = |setting: &str| {
                let own = &settings[setting];
                if own.is_null() { base["services"][service][setting].clone() } else { own.clone() }
            };
            assert_eq!(of("read_only"), true, "{name}: {service}");
            assert_eq!(texts(&of("cap_drop")), ["ALL"], "{name}: {service}");
            assert_eq!(texts(&of("security_opt")), ["no-new-privileges:true"], "{name}: {service}");
            assert_eq!(of("privileged"), Value::Null, "{name}: {service}");
        }
    }
}

#[test]
fn the_proxy_finds_both_wallets_and_only_the_wallets_and_the_owner_find_postgres() {
    let Some(base) = read("compose.yaml") else { return };
    let over = read("compose.postgres.yaml").unwrap();
    let services = &over["services"];
    let addr = |service: &str| services[service]["networks"]["inside"]["ipv4_address"].as_str().unwrap();
    let expected = [format!("wallet:{}", addr("wallet")), format!("wallet:{}", addr("wallet-2"))];
    assert_eq!(texts(&services["proxy"]["extra_hosts"]), expected);
    assert_eq!(base["services"]["wallet"]["networks"]["inside"]["ipv4_address"], addr("wallet"));
    let proxy = &base["services"]["proxy"]["networks"]["inside"]["ipv4_address"];
    let taken = base["services"].as_object().unwrap().values();
    let mut taken: Vec<&Value> = taken.map(|settings| &settings["networks"]["inside"]["ipv4_address"]).collect();
    taken.push(&services["wallet-2"]["networks"]["inside"]["ipv4_address"]);
    assert_eq!(taken.len(), taken.iter().map(|addr| addr.as_str()).collect::<BTreeSet<_>>().len(), "{taken:?}");
    for wallet in ["wallet", "wallet-2"] {
        assert_eq!(&services[wallet]["environment"]["WALLET_TRUSTED_PROXIES"], proxy);
    }
    // The second is the first again.
    for setting in ["image", "restart", "read_only", "tmpfs", "cap_drop", "security_opt", "stop_grace_period"] {
        assert_eq!(services["wallet-2"][setting], base["services"]["wallet"][setting], "{setting}");
    }
    for (service, settings) in services.as_object().unwrap() {
        let networks: BTreeSet<&str> =
            texts(&settings["networks"]).into_iter().chain(keys(&settings["networks"])).collect();
        let reaches = ["postgres", "wallet", "wallet-2"].contains(&service.as_str());
        assert_eq!(networks.contains("storage"), reaches, "{service}");
        let is_owner = texts(&settings["volumes"]).iter().any(|volume| volume.starts_with("owner:"));
        assert_eq!(is_owner, ["postgres", "tables", "role"].contains(&service.as_str()), "{service}");
    }
}

/// The server of the deployment, its memory aside: it takes every setting, and what makes a commit durable is on.
#[test]
fn postgres_takes_its_settings() {
    let test = "PostgreSQL as Compose starts it";
    let Some(over) = read("compose.postgres.yaml") else { return };
    let Some(shared) = Database::create(test) else { return };
    let has_lz4 = "select 'lz4' = any (enumvals) from pg_settings where name = 'wal_compression'";
    let has_lz4 = shared.value::<bool>(has_lz4);
    let settings = texts(&over["services"]["postgres"]["command"]).into_iter().skip(1);
    let settings: Vec<(&str, &str)> =
        settings.map(|flag| flag.strip_prefix("--").and_then(|flag| flag.split_once('=')).expect(flag)).collect();
    let here = settings.iter().map(|(name, value)| match (*name, *value) {
        ("shared_buffers", _) => (*name, "16MB"),
        // Debian's build has it, and so has the image; some have not.
        ("wal_compression", "lz4") if !has_lz4 => (*name, "on"),
        other => other,
    });
    let Some(server) = Server::start_own(test, &here.collect::<Vec<_>>()) else { return };
    let database = server.database(test);
    for (name, value) in settings.iter().filter(|(name, _)| !["shared_buffers", "wal_compression"].contains(name)) {
        assert_eq!(database.value::<String>(&format!("show {name}")), value.replace("60s", "1min"), "{name}");
    }
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert!(settings.iter().all(|(set, _)| *set != name), "{name} is left as it is");
        assert_eq!(database.value::<String>(&format!("show {name}")), "on", "{name}");
    }
}
