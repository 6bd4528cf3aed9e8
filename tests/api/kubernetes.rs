//! A real kube-apiserver, where `STAYPUT_KUBERNETES` names a folder with `bin/kube-apiserver`.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stayput::api::directory::Directory;
use stayput::api::kubernetes::{Error, Kubernetes};
use stayput::kubeadm::audit::cluster as audit;

use crate::files::Files;
use crate::member::{self, Addresses, peer};
use crate::sample;
use crate::support::{Process, eventually, here};

/// The program, or why the test is over.
fn program() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("STAYPUT_KUBERNETES").unwrap_or_default();
    let program = Path::new(&folder).join("bin/kube-apiserver");
    if program.exists() {
        return Some(program);
    }
    let required = set("STAYPUT_REQUIRE_KUBERNETES").is_some_and(|value| value == "1");
    let missing = "STAYPUT_KUBERNETES, a folder with bin/kube-apiserver";
    assert!(!required, "missing: {missing}");
    eprintln!("SKIPPED: missing: {missing}");
    None
}

/// A user's kubeconfig.
fn kubeconfig(files: &Files, server: &str, user: &str) -> String {
    let data = |stem: &str| STANDARD.encode(files.read(&format!("etc/kubernetes/pki/etcd/{stem}")));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: {server}, certificate-authority-data: {}}}}}]\n\
         users: [{{name: u, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
        data("ca.crt"),
        data(&format!("{user}.crt")),
        data(&format!("{user}.key")),
    )
}

fn start(files: &Files, program: &Path, etcd: &str, own: &str) -> Process {
    let pki = files.pki();
    let names = ["kubernetes", "api.k8s.internal"];
    files
        .authority
        .write_pair(&pki, "apiserver", "kube-apiserver", &names);
    // Without RBAC the API decides by the user's name alone, in a file.
    files.write("policy", "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{\"user\":\"client\",\"namespace\":\"*\",\"resource\":\"*\",\"apiGroup\":\"*\"}}\n");
    let pki = pki.display();
    let mut command = Command::new(program);
    command.args([
        format!("--etcd-servers={etcd}"),
        format!("--etcd-cafile={pki}/ca.crt"),
        format!("--etcd-certfile={pki}/healthcheck-client.crt"),
        format!("--etcd-keyfile={pki}/healthcheck-client.key"),
        format!("--bind-address={own}"),
        format!("--advertise-address={own}"),
        "--secure-port=6443".to_owned(),
        format!("--tls-cert-file={pki}/apiserver.crt"),
        format!("--tls-private-key-file={pki}/apiserver.key"),
        format!("--client-ca-file={pki}/ca.crt"),
        "--authorization-mode=ABAC".to_owned(),
        format!(
            "--authorization-policy-file={}",
            files.path("policy").display()
        ),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={pki}/apiserver.crt"),
        format!("--service-account-signing-key-file={pki}/apiserver.key"),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
    ]);
    Process::start(&mut command, &files.path("apiserver.log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_made_read_and_changed() {
    let Some(program) = program() else {
        return;
    };
    if !here(false, &["etcd"]) {
        return;
    }
    let files = Files::new();
    let addresses = Addresses(Addresses::new(20).0.split_off(18));
    let own = addresses.0[0].clone();
    let _etcd = member::start(&files, &addresses, 1, &[peer(&addresses, 1)], "new");
    let mut server = start(&files, &program, &format!("https://{own}:2379"), &own);
    let config = kubeconfig(&files, &format!("https://{own}:6443"), "healthcheck-client");
    files.write("etc/kubernetes/admin.conf", &config);
    files
        .authority
        .write_pair(&files.pki(), "nobody", "nobody", &["nobody"]);
    let config = kubeconfig(&files, &format!("https://{own}:6443"), "nobody");
    files.write("etc/kubernetes/nobody.conf", &config);
    let directory = Directory::of(&sample::three([1, 2, 3]));
    let open =
        |path| Kubernetes::from_kubeconfig(&files.root(), Path::new(path), &directory).unwrap();
    let api = open("/etc/kubernetes/admin.conf");

    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        eventually("the API answers", || {
            server.must_run();
            let got = handle.block_on(api.get("/api/v1/namespaces/default"));
            match got {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("no namespace yet".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
    });

    let maps = "/api/v1/namespaces/default/configmaps";
    let (map, path) = (
        json!({"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}}),
        format!("{maps}/m"),
    );
    assert!(api.get(&path).await.unwrap().is_none());
    let made = api.create(maps, &map).await.unwrap();
    assert_eq!(made["data"]["a"], "1");
    let again = api.create(maps, &map).await.unwrap_err();
    assert!(again.is_conflict(), "{again:?}");
    let changed = api
        .merge_patch(&path, &json!({"data": {"a": null, "c": "3"}}))
        .await
        .unwrap();
    assert_eq!(changed["data"], json!({"b": "2", "c": "3"}));
    // What was read first is old by now.
    let old = api.replace(&path, &made).await.unwrap_err();
    assert!(old.is_conflict(), "{old:?}");
    api.replace(&path, &changed).await.unwrap();
    let found = api.list(maps).await.unwrap();
    assert!(
        found.iter().any(|item| item["metadata"]["name"] == "m"),
        "{found:?}"
    );
    let wrong = api
        .create(maps, &json!({"metadata": {"name": "M_"}}))
        .await
        .unwrap_err();
    assert!(
        matches!(wrong, Error::Refused { status: 422, .. }),
        "{wrong:?}"
    );

    the_audit_sees_what_is_there(&files, &addresses, &api).await;

    let denied = open("/etc/kubernetes/nobody.conf")
        .get(&path)
        .await
        .unwrap_err();
    assert!(
        matches!(denied, Error::Denied { status: 403, .. }),
        "{denied:?}"
    );
    assert!(!denied.is_absent());
}

/// What a stock cluster with an address as its endpoint has, in a real API.
async fn the_audit_sees_what_is_there(files: &Files, addresses: &Addresses, api: &Kubernetes) {
    const STOCK: &str = include_str!("../kubeadm/golden/stock-1.20.2/cluster.json");
    let stock: Value =
        serde_json::from_str(&STOCK.replace("k8s-api.example", "10.77.0.11")).unwrap();
    let bare = |key: &str| {
        let mut object = match &stock[key] {
            Value::Array(list) => list[0].clone(),
            object => object.clone(),
        };
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        object
    };
    let view = addresses.view_of_the_second();
    let root = files.root();
    let empty = audit::look(&root, &view).await;
    let missed = |found: &audit::Found| -> Vec<String> {
        let places = found
            .not_looked_at
            .iter()
            .map(|missed| missed.place.clone());
        places
            .filter(|place| !place.starts_with("the kubelet's"))
            .collect()
    };
    let told = |found: &audit::Found| -> Vec<String> {
        let pins = found
            .pins
            .iter()
            .filter(|pin| !pin.place.starts_with("kubelet of "));
        pins.map(|pin| format!("{}: {} = {}", pin.place, pin.what, pin.value))
            .collect()
    };
    assert!(
        missed(&empty).is_empty() && told(&empty).is_empty(),
        "{empty:?}"
    );

    let public = json!({"metadata": {"name": "kube-public"}});
    if api
        .get("/api/v1/namespaces/kube-public")
        .await
        .unwrap()
        .is_none()
    {
        // The server's own controller may be faster.
        let _ = api.create("/api/v1/namespaces", &public).await;
    }
    for (path, key) in [
        ("namespaces/kube-system/configmaps", "kubeadmConfig"),
        ("namespaces/kube-public/configmaps", "clusterInfo"),
        ("namespaces/kube-system/configmaps", "kubeProxy"),
        ("nodes", "nodes"),
    ] {
        api.create(&format!("/api/v1/{path}"), &bare(key))
            .await
            .unwrap();
    }
    let found = audit::look(&root, &view).await;
    assert!(missed(&found).is_empty(), "{found:?}");
    assert_eq!(
        told(&found),
        [
            "ConfigMap kube-system/kube-proxy: kubeconfig.conf: server = https://10.77.0.11:6443",
            "ConfigMap kube-public/cluster-info: kubeconfig: server = https://10.77.0.11:6443",
            "ConfigMap kube-system/kubeadm-config: ClusterConfiguration: controlPlaneEndpoint = 10.77.0.11:6443",
            "Node master-1: InternalIP = 10.77.0.11",
            "ConfigMap kube-system/kubeadm-config: ClusterStatus: apiEndpoints.master-1.advertiseAddress = 10.77.0.11",
        ]
    );
}
