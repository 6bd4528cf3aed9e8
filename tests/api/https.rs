//! The ways in which a connection can fail, and who counts as the server.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use stayput::api::https::{Answer, BODY_LIMIT, Error, Https, Identity, Place};
use stayput::api::identity;

use crate::files::Files;
use crate::server::{Manner, Server, serve};

const NAMES: [&str; 2] = ["master-1.k8s.internal", "127.0.0.1"];

fn place(addresses: &[SocketAddr], names: &[&str]) -> Place {
    Place {
        addresses: addresses.to_vec(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        port: addresses[0].port(),
    }
}

fn me(files: &Files) -> Identity {
    let pair = "/etc/kubernetes/pki/etcd/healthcheck-client";
    let (certificate, key) = (format!("{pair}.crt"), format!("{pair}.key"));
    identity::identity(&files.root(), Path::new(&certificate), Path::new(&key)).unwrap()
}

async fn ask(files: &Files, place: Place, who: Option<&Identity>) -> Result<Answer, Error> {
    let authority = Path::new("/etc/kubernetes/pki/etcd/ca.crt");
    let authorities = identity::certificates(&files.root(), authority).unwrap();
    let https = Https::new("the server", place, &authorities, who).unwrap();
    let https = https.within(Duration::from_secs(2));
    https.request(Method::GET, "/x", None).await
}

async fn server(manner: Manner) -> (Files, Server) {
    let files = Files::new();
    let server = serve(&files, &NAMES, manner).await;
    (files, server)
}

#[tokio::test]
async fn any_of_the_names_proves_the_server() {
    let (files, server) = server(Manner::answer(200, "yes")).await;
    for names in [
        &["master-1.k8s.internal"][..],
        &["127.0.0.1"],
        &["10.0.0.1", "master-1.k8s.internal"],
        &["another.example", "10.0.0.1", "127.0.0.1"],
    ] {
        let answer = ask(&files, place(&[server.address], names), Some(&me(&files))).await;
        assert_eq!(&answer.unwrap().body[..], b"yes", "{names:?}");
    }
    let head = &server.asked()[0];
    assert!(head.starts_with("get /x http/1.1\r\n"), "{head}");
    let host = format!("host: master-1.k8s.internal:{}\r\n", server.port());
    assert!(head.contains(&host), "{head}");
}

#[tokio::test]
async fn another_one_is_told_nothing() {
    let (files, server) = server(Manner::answer(200, "yes")).await;
    let stranger = place(&[server.address], &["master-2.k8s.internal", "10.0.0.1"]);
    let error = ask(&files, stranger, Some(&me(&files))).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("not valid for name"), "{error}");

    // Of another authority.
    let others = Files::new();
    let other = me(&others);
    let error = ask(&others, place(&[server.address], &NAMES), Some(&other)).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("the server") && error.contains("invalid peer certificate"),
        "{error}"
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn whoever_is_nobody_is_told_that_the_server_broke_off() {
    let (files, server) = server(Manner::answer(200, "yes")).await;
    let error = ask(&files, place(&[server.address], &NAMES), None)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("CertificateRequired") && text.contains("the server"),
        "{text}"
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_address_at_which_nobody_is_does_not_keep_the_others() {
    let (files, server) = server(Manner::answer(200, "yes")).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let both = place(&[nobody, server.address], &NAMES);
    let answer = ask(&files, both, Some(&me(&files))).await;
    assert_eq!(answer.unwrap().status, 200);

    let error = ask(&files, place(&[nobody], &NAMES), Some(&me(&files))).await;
    let error = error.unwrap_err().to_string();
    let want = format!("cannot reach the server: {nobody}: Connection refused");
    assert!(error.starts_with(&want), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let (files, server) = server(Manner::Silent).await;
    let error = ask(&files, place(&[server.address], &NAMES), Some(&me(&files))).await;
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "the server did not answer within 2 s");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn half_an_answer_and_too_much_of_one_are_told_apart() {
    let much = BODY_LIMIT + 1;
    let much = format!(
        "HTTP/1.1 200 x\r\nContent-Length: {much}\r\n\r\n{}",
        " ".repeat(much)
    );
    for (says, want) in [
        (
            &b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n{"[..],
            "the server broke off: ",
        ),
        (b"", "the server broke off: "),
        (b"SSH-2.0-x\r\n\r\n", "the server broke off: "),
        (much.as_bytes(), "the answer of the server is larger than"),
    ] {
        let (files, server) = server(Manner::Says(says.to_vec())).await;
        let error = ask(&files, place(&[server.address], &NAMES), Some(&me(&files))).await;
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let files = Files::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = ask(&files, place(&[address], &NAMES), Some(&me(&files))).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("corrupt message"), "{error}");
}
