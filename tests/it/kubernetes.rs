//! The files in `deploy/kubernetes/`: what they build is valid, leads somewhere, and gives the wallet no right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use wallet::store::Location;

use crate::support::optional;

/// Reads YAML from standard input, and writes its documents as a JSON array.
const TO_JSON: &str = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";

/// The programs that build and check.
struct Tools {
    kubectl: PathBuf,
    validate: PathBuf,
    python: PathBuf,
}

impl Tools {
    /// `None`, after saying so, if one is missing.
    fn find() -> Option<Self> {
        let test = "the files for Kubernetes";
        let [kubectl, validate, python] = optional::programs(test, ["kubectl", "kubernetes-validate", "python3"])?;
        if !Command::new(&python).args(["-c", "import yaml"]).output().unwrap().status.success() {
            optional::skip(test, "needs PyYAML, as `.ci/requirements.txt` has it");
            return None;
        }
        Some(Self { kubectl, validate, python })
    }

    /// What a folder builds, as YAML.
    fn build(&self, folder: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(folder);
        let Output { status, stdout, stderr } =
            Command::new(&self.kubectl).arg("kustomize").arg(&folder).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(status.success() && stderr.is_empty(), "{}: {stderr}", folder.display());
        String::from_utf8(stdout).unwrap()
    }

    /// What the schemas of Kubernetes say against it; an unknown field as well.
    fn errors(&self, yaml: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("built.yaml");
        fs::write(&file, yaml).unwrap();
        let Output { status, stdout, stderr } =
            Command::new(&self.validate).args(["--strict", "--quiet"]).arg(&file).output().unwrap();
        let printed = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(status.success(), printed.is_empty(), "{printed}");
        printed.lines().map(ToOwned::to_owned).collect()
    }

    fn objects(&self, yaml: &str) -> Objects {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("built.yaml");
        fs::write(&file, yaml).unwrap();
        let mut python = Command::new(&self.python);
        let output = python.args(["-c", TO_JSON]).stdin(fs::File::open(file).unwrap()).output().unwrap();
        Objects(serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// What a folder builds.
struct Objects(Vec<Value>);

impl Objects {
    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// Whatever runs the pods.
    fn workload(&self) -> &Value {
        self.find("StatefulSet", "wallet").unwrap_or_else(|| self.get("Deployment", "wallet"))
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(values: &Value) -> Vec<&str> {
    array(values).iter().map(|value| value["name"].as_str().expect("it has a name")).collect()
}

/// Asserts that all labels of a selector are a pod's.
fn assert_selects(selector: &Value, labels: &Value) {
    let wanted = selector.as_object().expect("a selector");
    assert!(!wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value), "{selector} of {labels}");
}

/// Each name, port, label and volume leads somewhere.
fn assert_whole(objects: &Objects) {
    let workload = objects.workload();
    let template = &workload["spec"]["template"];
    let (labels, pod) = (&template["metadata"]["labels"], &template["spec"]);
    let container = &pod["containers"][0];
    let ports = names(&container["ports"]);
    assert_eq!(array(&pod["containers"]).len(), 1);
    assert_selects(&workload["spec"]["selector"]["matchLabels"], labels);
    for name in ["wallet", "wallet-pods"] {
        let service = &objects.get("Service", name)["spec"];
        assert_selects(&service["selector"], labels);
        let targets: Vec<&str> =
            array(&service["ports"]).iter().map(|port| port["targetPort"].as_str().unwrap()).collect();
        assert_eq!(targets, ports);
    }
    if let Some(service) = workload["spec"]["serviceName"].as_str() {
        assert_eq!(objects.get("Service", service)["spec"]["clusterIP"], "None");
    }
    assert_eq!(objects.get("ServiceAccount", "wallet")["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], "wallet");
    let claims = array(&workload["spec"]["volumeClaimTemplates"]);
    let mut volumes = names(&pod["volumes"]);
    volumes.extend(claims.iter().map(|claim| claim["metadata"]["name"].as_str().unwrap()));
    let mut mounts = names(&container["volumeMounts"]);
    mounts.sort_unstable();
    volumes.sort_unstable();
    assert_eq!(mounts, volumes);
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "rest"}), "{probe}");
    }
    let namespaces = objects.0.iter().filter(|object| object["kind"] != "Namespace");
    assert!(namespaces.clone().all(|object| object["metadata"]["namespace"] == "wallet"));
}

/// The pod has no right that it does not need, and only marked pods reach it.
fn assert_confined(objects: &Objects) {
    let pod = &objects.workload()["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let mut context = pod["securityContext"].clone();
    assert_eq!(context["fsGroupChangePolicy"].take(), "OnRootMismatch");
    assert_eq!(context["seccompProfile"].take(), json!({"type": "RuntimeDefault"}));
    assert_eq!(context["runAsNonRoot"].take(), true);
    for user in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(context[user], 10_001, "{user}");
    }
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(pod["containers"][0]["securityContext"], expected);
    for name in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod[name], Value::Null, "{name}");
    }
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 15);
    assert!(pod["containers"][0]["resources"]["limits"]["memory"].is_string());
    let namespace = &objects.get("Namespace", "wallet")["metadata"]["labels"];
    assert_eq!(namespace["pod-security.kubernetes.io/enforce"], "restricted");

    let policy = &objects.get("NetworkPolicy", "wallet")["spec"];
    assert_selects(
        &policy["podSelector"]["matchLabels"],
        &objects.workload()["spec"]["template"]["metadata"]["labels"],
    );
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let clients = json!([{
        "from": [{
            "namespaceSelector": {"matchLabels": {"wallet-clients": "true"}},
            "podSelector": {"matchLabels": {"wallet-client": "true"}},
        }],
        "ports": [{"protocol": "TCP", "port": "rest"}, {"protocol": "TCP", "port": "grpc"}],
    }]);
    assert_eq!(policy["ingress"], clients);
}

#[test]
fn the_base_is_valid_whole_and_confined() {
    let Some(tools) = Tools::find() else { return };
    let yaml = tools.build("base");
    assert_eq!(tools.errors(&yaml), [""; 0]);
    let objects = tools.objects(&yaml);
    assert_whole(&objects);
    assert_confined(&objects);
    let set = &objects.get("StatefulSet", "wallet")["spec"];
    assert_eq!(set["replicas"], 1, "one process serves one file");
    assert_eq!(set["volumeClaimTemplates"][0]["spec"]["accessModes"], json!(["ReadWriteOncePod"]));
    assert_eq!(objects.get("NetworkPolicy", "wallet")["spec"]["egress"], json!([]), "it calls nobody");

    for (good, bad) in [("replicas: 1", "replicas: one"), ("replicas: 1", "replica: 1")] {
        assert!(yaml.contains(good));
        assert_eq!(tools.errors(&yaml.replace(good, bad)).len(), 1, "the check refuses `{bad}`");
    }
}

#[test]
fn the_overlay_for_postgresql_is_valid_whole_and_confined() {
    let Some(tools) = Tools::find() else { return };
    let yaml = tools.build("postgres");
    assert_eq!(tools.errors(&yaml), [""; 0]);
    let objects = tools.objects(&yaml);
    assert_whole(&objects);
    assert_confined(&objects);
    assert!(objects.find("StatefulSet", "wallet").is_none());
    let deployment = objects.get("Deployment", "wallet");
    let (spec, template) = (&deployment["spec"], &deployment["spec"]["template"]);
    assert_eq!(spec["replicas"], 2);
    let (labels, pod) = (&template["metadata"]["labels"], &template["spec"]);
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["topologyKey"], "kubernetes.io/hostname");
    assert_selects(&apart["labelSelector"]["matchLabels"], labels);
    let budget = &objects.get("PodDisruptionBudget", "wallet")["spec"];
    assert_selects(&budget["selector"]["matchLabels"], labels);
    assert_eq!(budget["maxUnavailable"], 1);
    let database = array(&pod["containers"][0]["env"]).iter().find(|value| value["name"] == "WALLET_DATABASE_URL");
    let secret = json!({"secretKeyRef": {"name": "wallet-database", "key": "url"}});
    assert_eq!(database.unwrap(), &json!({"name": "WALLET_DATABASE_URL", "valueFrom": secret}));
}

#[test]
fn the_wallet_takes_the_url_that_the_overlay_gives_it() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let url = readme.split('\'').find(|text| text.starts_with("postgres://")).expect("the URL of the Secret");
    assert!(url.parse::<Location>().is_ok(), "{url}");
}
