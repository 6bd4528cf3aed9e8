//! What `join-etcd` and `leave-etcd` refuse before anybody is asked.

use crate::machine::{MOVING, Machine, STABLE};

#[test]
fn a_worker_has_no_member() {
    for command in [
        &["join-etcd"][..],
        &["leave-etcd"],
        &["leave-etcd", "--name", "master-2"],
    ] {
        let arguments = [&["--node", "w", "kubeadm"][..], command].concat();
        let text = Machine::new(MOVING).stayput(&arguments).refused(65);
        assert!(text.contains("a worker has no etcd member"), "{text}");
        assert!(!text.contains("certificate"), "{text}");
    }
}

#[test]
fn what_cannot_join_is_told_at_once() {
    let join = |masters: &str, more: &[&str]| {
        let machine = Machine::new(masters);
        machine.stayput(&[&["kubeadm", "join-etcd"][..], more].concat())
    };
    let text = join(MOVING, &["--image", "bad image!"]).refused(65);
    assert!(text.contains("'bad image!' is no image"), "{text}");
    let text = join(STABLE, &[]).refused(65);
    assert!(
        text.contains("has the stable address 10.254.0.1, at which `kubeadm join` adds its member"),
        "{text}"
    );
    // A good image comes as far as the certificates, which are not there.
    let text = join(MOVING, &["--image", "registry.k8s.io/etcd:3.5.15-0"]).refused(1);
    assert!(text.contains("certificates are not ready"), "{text}");
}

#[test]
fn who_is_nobody_cannot_leave() {
    let machine = Machine::new(MOVING);
    let leave = |name| machine.stayput(&["kubeadm", "leave-etcd", "--name", name]);
    for name in ["", "bad name", "a\tb"] {
        let text = leave(name).refused(65);
        assert!(
            text.contains("is no name of a master or a member"),
            "{text}"
        );
        assert!(text.contains("master-1, master-2"), "{text}");
    }
    // Members may have names that no master has any more, so etcd would have to tell; it is not there.
    let text = leave("nobody").refused(65);
    assert!(
        text.contains("no master is called nobody (the masters are master-1, master-2)"),
        "{text}"
    );
    // A master that exists: nobody answers.
    let text = leave("master-2").refused(69);
    assert!(!text.contains("no master is called"), "{text}");
}
