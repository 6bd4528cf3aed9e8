use super::*;
use crate::pki::authority::Authority;
use crate::pki::issue::{self, Validity};
use crate::pki::key::KeyType;
use crate::pki::profile::Profile;

const VALIDITY: Validity = Validity {
    not_before: 1_800_000_000,
    not_after: 1_900_000_000,
};

fn profile(common_name: &str) -> Profile {
    Profile {
        common_name: common_name.into(),
        ..Profile::default()
    }
}

fn authority() -> Authority {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let pem = issue::authority(&profile("kubernetes"), &key, VALIDITY).unwrap();
    let bundle = Certificate::parse_pem(pem.as_bytes()).unwrap();
    Authority {
        certificate: bundle[0].clone(),
        bundle,
        pem: pem.into_bytes(),
        key: Some(key),
    }
}

/// Certificate and key as PEM.
fn pair(authority: &Authority, user: &str) -> (String, Zeroizing<String>) {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let pem = issue::leaf(authority, &profile(user), None, &key, VALIDITY, true).unwrap();
    (pem, key.to_pem().unwrap())
}

fn rendered(user: &str, server: &str) -> (Authority, String) {
    let authority = authority();
    let (certificate, key) = pair(&authority, user);
    let text = New {
        server,
        authority: &authority.pem,
        user,
        certificate: &certificate,
        key: &key,
    }
    .render();
    (authority, text.to_string())
}

#[test]
fn what_is_written_is_read_again() {
    for user in [
        "system:node:master-1",
        "1234",
        "true",
        "a: b #c",
        "x:",
        "m\u{fc} \"q\"\n",
    ] {
        for server in ["https://api.k8s.internal:8443", "https://[::1]:6443"] {
            let (authority, text) = rendered(user, server);
            let read = parse(text.as_bytes()).unwrap();
            assert_eq!(read.server, server, "{text}");
            let Client::Embedded { certificates, key } = read.client else {
                panic!("{text}")
            };
            assert_eq!(certificates[0].profile.common_name, user);
            assert_eq!(certificates[0].public_key, key.public_key());
            let Authorities::Embedded(read) = read.authorities else {
                panic!("{text}")
            };
            assert_eq!(read, authority.bundle);
        }
    }
}

#[test]
fn is_written_as_client_go_writes_it() {
    let new = New {
        server: "https://api.k8s.internal:8443",
        authority: b"a",
        user: "kubernetes-admin",
        certificate: "c",
        key: "k",
    };
    let want = "apiVersion: v1\n\
        clusters:\n\
        - cluster:\n    certificate-authority-data: YQ==\n    server: https://api.k8s.internal:8443\n  name: kubernetes\n\
        contexts:\n\
        - context:\n    cluster: kubernetes\n    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n\
        current-context: kubernetes-admin@kubernetes\n\
        kind: Config\n\
        preferences: {}\n\
        users:\n\
        - name: kubernetes-admin\n  user:\n    client-certificate-data: Yw==\n    client-key-data: aw==\n";
    assert_eq!(*new.render(), want);
    assert!(!format!("{new:?}").contains("aw"));
}

/// The two values of a text, and what it is apart from them.
fn values(text: &str) -> (String, String, String) {
    let value = |field: &str| {
        let start = text.find(field).unwrap() + field.len() + 2;
        let end = start + text[start..].find('\n').unwrap();
        text[start..end].to_owned()
    };
    let (certificate, key) = (value(CERTIFICATE), value(KEY));
    let rest = text.replace(&certificate, "C").replace(&key, "K");
    (certificate, key, rest)
}

#[test]
fn a_renewal_changes_two_values_and_no_other_byte() {
    let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
    let (old_certificate, old_key, frame) = values(&text);
    let lines = |value: &str, indent: &str| {
        let lines = value.as_bytes().chunks(76);
        let lines = lines.map(|line| std::str::from_utf8(line).unwrap());
        lines.collect::<Vec<_>>().join(indent)
    };
    let block =
        |style: &str, value: &str| format!("{style}\n        {}", lines(value, "\n        "));
    let (certificate, key) = pair(&authority, "admin");
    let (new_certificate, new_key) = (STANDARD.encode(&certificate), STANDARD.encode(&*key));
    let fill = |frame: &str, c: &str, k: &str| {
        frame
            .replace("-data: C", &format!("-data: {c}"))
            .replace("-data: K", &format!("-data: {k}"))
    };
    let commented = format!("# a note: \u{fc}\n{frame}extra: {{a: [1,  2], b: 'x'}} # end");
    let windows = frame.replace('\n', "\r\n");
    let marked = format!("\u{feff}{frame}");
    for frame in [&frame, &commented, &windows, &marked] {
        for quote in ["", "\"", "'"] {
            let quoted = |value: &str| format!("{quote}{value}{quote}");
            let text = fill(frame, &quoted(&old_certificate), &quoted(&old_key));
            let want = fill(frame, &quoted(&new_certificate), &quoted(&new_key));
            let changed = renewed(&text, &certificate, &key);
            assert_eq!(*changed.unwrap(), want, "{text}");
        }
    }
    for style in ["|", ">", "|-", ">-"] {
        let old = fill(
            &frame,
            &block(style, &old_certificate),
            &block(style, &old_key),
        );
        let single = |value: &str| format!("{style}\n        {value}");
        let want = fill(&frame, &single(&new_certificate), &single(&new_key));
        assert_eq!(*renewed(&old, &certificate, &key).unwrap(), want, "{old}");
    }
    // A plain scalar over several lines.
    let old = fill(&frame, &lines(&old_certificate, "\n      "), &old_key);
    let want = fill(&frame, &new_certificate, &new_key);
    assert_eq!(*renewed(&old, &certificate, &key).unwrap(), want);
}

#[test]
fn json_is_renewed_too() {
    let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
    let (old_certificate, old_key, _) = values(&text);
    let frame = "{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{\"user\":\"u\",\"cluster\":\"c\"}}],\
        \"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://a:1\"}}],\
        \"users\":[{\"name\":\"u\",\"user\":{\"client-certificate-data\":\"C\",\"client-key-data\":\"K\"}}]}";
    let fill = |c: &str, k: &str| {
        frame
            .replace("\"C\"", &format!("\"{c}\""))
            .replace("\"K\"", &format!("\"{k}\""))
    };
    let (certificate, key) = pair(&authority, "admin");
    let changed = renewed(&fill(&old_certificate, &old_key), &certificate, &key).unwrap();
    let want = fill(&STANDARD.encode(&certificate), &STANDARD.encode(&*key));
    assert_eq!(*changed, want);
}

#[test]
fn server_and_authority_are_put_right_where_they_stand() {
    let (_, text) = rendered("admin", "https://a:1");
    let more = "extra: {a: [1,  2]} # end\n";
    let (ours, node) = (authority(), "https://127.0.0.1:6443");
    let (certificate, key) = pair(&ours, "admin");
    let new = New {
        server: node,
        authority: &ours.pem,
        user: "admin",
        certificate: &certificate,
        key: &key,
    };
    let right = corrected(&(text.clone() + more), &new).unwrap();
    assert_eq!(*right, new.render().to_string() + more);
    // In a file: nothing to change, so that it is written anew.
    let (old, ..) = values(&text);
    let files = text.replace(&format!("{CERTIFICATE}: {old}"), "client-certificate: /a");
    assert_eq!(*corrected(&(files + more), &new).unwrap(), *new.render());
    assert!(matches!(corrected("[", &new), Err(Error::Unusable(_))));
}

#[test]
fn refuses_to_change_more_than_it_should() {
    let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
    let (old_certificate, old_key, _) = values(&text);
    let (certificate, key) = pair(&authority, "admin");
    let shared = text.replace(&old_key, "&k\n      ") + &format!("copy: &c {old_certificate}\n");
    let alias = text.replace(&old_certificate, "*c");
    let alias = format!("before: &c {old_certificate}\n{alias}");
    let escaped = text.replace(
        &old_key,
        &format!("\"\\x{:x}{}\"", old_key.as_bytes()[0], &old_key[1..]),
    );
    for (what, text) in [("shared", shared), ("alias", alias), ("escaped", escaped)] {
        let error = renewed(&text, &certificate, &key).unwrap_err().to_string();
        assert!(!error.contains(&old_key[..10]), "{what}: {error}");
    }
    let (other, _) = pair(&authority, "admin");
    let error = renewed(&text, &other, &key).unwrap_err().to_string();
    assert!(error.contains("does not belong"), "{error}");
}

#[test]
fn tells_why_a_kubeconfig_is_of_no_use() {
    let (_, text) = rendered("admin", "https://a:1");
    let (certificate, key, _) = values(&text);
    let half = text.replace(&format!("    {KEY}: {key}\n"), "");
    let mixed = text.replace(&format!("{KEY}: {key}"), "client-key: /a");
    for (text, want) in [
        (String::new(), "no mapping"),
        ("[".to_owned(), "no YAML (line"),
        (
            text.replace("current-context: admin", "current-context: x"),
            "'x@kubernetes' is not among its contexts",
        ),
        (
            text.replace("current-context", "current"),
            "no current-context",
        ),
        (
            text.replace("server: https://a:1", "server: ''"),
            "no server",
        ),
        (text.replace(&certificate, "'%'"), "not base64"),
        (text.replace(&certificate, "AAAA"), "holds no certificate"),
        (text.replace(&key, "AAAA"), "holds no usable private key"),
        (half, "a certificate and no key"),
        (mixed, "the other in a file"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
        assert!(!error.contains(&key[..10]), "{error}");
    }
}

#[test]
fn files_and_tokens_are_told_apart() {
    let frame = "current-context: x\ncontexts: [{name: x, context: {user: u, cluster: c}}]\n\
        clusters: [{name: c, cluster: {server: 'https://a', certificate-authority: pki/ca.crt}}]\n\
        users: [{name: u, user: {U}}]\n";
    let file = frame.replace("{U}", "{client-certificate: /a, client-key: b}");
    let read = parse(file.as_bytes()).unwrap();
    assert!(
        matches!(read.client, Client::Files { certificate, key } if certificate == "/a" && key == "b")
    );
    assert!(matches!(read.authorities, Authorities::File(path) if path == "pki/ca.crt"));
    let token = frame.replace("{U}", "{token: abc}");
    assert!(matches!(
        parse(token.as_bytes()).unwrap().client,
        Client::Other
    ));
}
