//! Kubeconfigs in each form in which a node has them, and what an API's answers mean to their users.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stayput::api::directory::Directory;
use stayput::api::kubernetes::{Error, Kubernetes};

use crate::files::Files;
use crate::sample;
use crate::server::{Manner, Server, serve};

const CONF: &str = "/etc/kubernetes/x.conf";
const PAIR: &str = "etc/kubernetes/pki/etcd/healthcheck-client";

fn kubeconfig(server: &str, authority: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         clusters:\n- name: c\n  cluster:\n    server: {server}\n{authority}\
         users:\n- name: u\n  user:\n{user}"
    )
}

fn embedded(files: &Files, server: &str) -> String {
    let data = |path: &str| STANDARD.encode(files.read(path));
    let authority = data("etc/kubernetes/pki/etcd/ca.crt");
    let (certificate, key) = (data(&format!("{PAIR}.crt")), data(&format!("{PAIR}.key")));
    kubeconfig(
        server,
        &format!("    certificate-authority-data: {authority}\n"),
        &format!("    client-certificate-data: {certificate}\n    client-key-data: {key}\n"),
    )
}

fn directory() -> Directory {
    let view = sample::view(&[("master-1", &["127.0.0.1"])], &[]);
    Directory::of(&view)
}

fn open(files: &Files) -> Result<Kubernetes, Error> {
    Kubernetes::from_kubeconfig(&files.root(), Path::new(CONF), &directory())
}

async fn api(names: &[&str], status: u16, body: &str) -> (Files, Server, Kubernetes) {
    let files = Files::new();
    let server = serve(&files, names, Manner::answer(status, body)).await;
    let url = format!("https://api.k8s.internal:{}", server.port());
    files.write(&CONF[1..], &embedded(&files, &url));
    let api = open(&files).unwrap();
    (files, server, api)
}

#[tokio::test]
async fn the_endpoint_is_the_local_haproxy() {
    // The first as stayput issues it, the second as a stock kubeadm may have for another endpoint.
    for names in [["api.k8s.internal", "x"], ["kubernetes", "10.0.0.1"]] {
        let (_files, server, api) = api(&names, 200, r#"{"kind":"Node"}"#).await;
        let node = api.get("/api/v1/nodes/m").await.unwrap().unwrap();
        assert_eq!(node["kind"], "Node");
        let asked = server.asked();
        assert!(asked[0].starts_with("get /api/v1/nodes/m "), "{asked:?}");
    }
}

#[tokio::test]
async fn the_kubelets_files_are_followed() {
    let files = Files::new();
    let server = serve(&files, &["kubernetes"], Manner::answer(200, "{}")).await;
    std::fs::create_dir_all(files.path("var/lib/kubelet/pki")).unwrap();
    let both = files.read(&format!("{PAIR}.crt")) + &files.read(&format!("{PAIR}.key"));
    files.write("var/lib/kubelet/pki/kubelet-client-1.pem", &both);
    let current = files.path("var/lib/kubelet/pki/kubelet-client-current.pem");
    std::os::unix::fs::symlink("/var/lib/kubelet/pki/kubelet-client-1.pem", current).unwrap();
    let pem = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    let config = kubeconfig(
        &format!("https://127.0.0.1:{}", server.port()),
        "    certificate-authority: pki/etcd/ca.crt\n",
        &format!("    client-certificate: {pem}\n    client-key: {pem}\n"),
    );
    files.write(&CONF[1..], &config);
    open(&files).unwrap().get("/x").await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_told() {
    let files = Files::new();
    let missing = open(&files).unwrap_err().to_string();
    assert!(
        missing.starts_with("/etc/kubernetes/x.conf is not there"),
        "{missing}"
    );
    let good = embedded(&files, "https://api.k8s.internal:1");
    let token = kubeconfig(
        "https://a:1",
        "    certificate-authority: pki/etcd/ca.crt\n",
        "    token: secret-x\n",
    );
    for (text, want) in [
        (good.replace("https:", "http:"), "is no URL"),
        (
            good.replace("certificate-authority-data", "x"),
            "names no certificate authority",
        ),
        (good.replace("current-context", "x"), "no current-context"),
        (token, "no client certificate"),
    ] {
        files.write(&CONF[1..], &text);
        let error = open(&files).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert!(
            !error.is_absent() && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let status = |text: &str| json!({"kind": "Status", "message": text}).to_string();
    let names = ["kubernetes"];

    let (_files, _server, api_) = api(&names, 404, &status("not found")).await;
    assert!(api_.get("/x").await.unwrap().is_none());
    let error = api_.merge_patch("/x", &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    let (_files, server, api_) = api(&names, 409, &status("the object has been modified")).await;
    let error = api_.replace("/x", &json!({"a": 1})).await.unwrap_err();
    assert!(
        error.is_conflict() && error.to_string().contains("has been modified"),
        "{error}"
    );
    assert!(server.asked()[0].ends_with(r#"{"a":1}"#));

    let (_files, server, api_) = api(&names, 403, &status("nodes is forbidden")).await;
    let error = api_
        .merge_patch("/x", &json!({"a": null}))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("PATCH /x")
            && text.contains(CONF)
            && text.ends_with("403: nodes is forbidden"),
        "{text}"
    );
    assert!(!error.is_absent());
    let head = &server.asked()[0];
    assert!(
        head.contains("content-type: application/merge-patch+json\r\n"),
        "{head}"
    );

    let (_files, _server, api_) = api(&names, 503, "").await;
    let error = api_.list("/x").await.unwrap_err();
    assert!(error.is_absent(), "{error}");

    let (_files, _server, api_) = api(&names, 200, r#"{"items":null}"#).await;
    assert!(api_.list("/x").await.unwrap().is_empty());
    let (_files, _server, api_) = api(&names, 200, "{}").await;
    assert!(matches!(
        api_.list("/x").await,
        Err(Error::Malformed { .. })
    ));
    let (_files, _server, api_) = api(&names, 200, "<html>").await;
    assert!(matches!(api_.get("/x").await, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_absent() {
    let (files, server, _api) = api(&["kubernetes"], 200, "{}").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = files
        .read(&CONF[1..])
        .replace(&server.port().to_string(), &port.to_string());
    files.write(&CONF[1..], &config);
    let error = open(&files).unwrap().get("/x").await.unwrap_err();
    assert!(error.is_absent(), "{error:?}");
}
