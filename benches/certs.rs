//! How long a master's certificates take, and a look at them.
//!
//! ```sh
//! cargo bench --bench certs [-- --rounds 20]
//! ```
//!
//! Three authorities, the service-account keys, and every leaf and kubeconfig, RSA-2048, beside kubeadm
//! where it is in the PATH, and beside OpenSSL. In turns, each in a fresh folder. Making RSA keys is a
//! matter of luck: compare medians.

mod lab;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::figures::{Sample, milliseconds, ratio, table};
use lab::node::Node;
use lab::verdict::{Verdict, exit_code};
use lab::{Result, argument, issuers, machine, scratch};

/// Of kubeadm's time.
const SHARE: f64 = 0.5;
const STATUS: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let rounds = argument("--rounds", 20)?;
    machine::describe(&[("kubeadm", "version"), ("openssl", "version")]);
    let mut verdict = Verdict::default();
    let mut samples: [Sample; 4] = Default::default();
    let [own, kubeadm, openssl, status] = &mut samples;
    for _ in 0..rounds {
        let node = master()?;
        own.add(timed(&node, &["certs", "init", "--new-cluster"])?);
        status.add(timed(&node, &["certs", "status"])?);
        if let Some(took) = issuers::kubeadm(scratch()?.path())? {
            kubeadm.add(took);
        }
        openssl.add(issuers::openssl(scratch()?.path())?);
    }
    let names = [
        "stayput certs init",
        "kubeadm init phase",
        "openssl",
        "stayput certs status",
    ];
    let rows = names
        .iter()
        .zip(&samples)
        .filter(|(_, sample)| sample.len() > 0);
    let rows = rows.map(|(name, sample)| {
        let figures = [sample.min(), sample.median(), sample.percentile(99)].map(milliseconds);
        [vec![(*name).to_owned()], figures.to_vec()].concat()
    });
    println!("\n{rounds} of each\n");
    println!("{}\n", table(&["ms", "min", "median", "slowest"], rows));
    let [own, kubeadm, openssl, status] = &samples;
    println!(
        "{:.2} of openssl's time",
        ratio(own.median(), openssl.median())
    );
    if kubeadm.len() > 0 {
        let share = ratio(own.median(), kubeadm.median());
        verdict.require(
            &format!("at most {SHARE} of kubeadm's time ({share:.2})"),
            share <= SHARE,
        );
    }
    verdict.require(
        &format!("certs status under {} ms", STATUS.as_millis()),
        status.median() < STATUS,
    );
    machine::load();
    Ok(verdict)
}

/// A node that is a master.
fn master() -> Result<Node> {
    let node = Node::new(vec![[192, 0, 2, 11].into()], false)?;
    node.write("etc/hostname", "master-1\n")?;
    Ok(node)
}

fn timed(node: &Node, arguments: &[&str]) -> Result<Duration> {
    let started = Instant::now();
    node.run(arguments)?;
    Ok(started.elapsed())
}
