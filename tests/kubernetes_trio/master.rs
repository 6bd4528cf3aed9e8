//! A master: a node with etcd and the three components.

use crate::components::{apiserver, controller_manager, scheduler};
use crate::etcd::member;
use crate::node::Node;
use crate::support::{Process, run};
use crate::way::Way;

pub(crate) struct Master {
    // Dropped in this order: processes before their node.
    scheduler: Option<Process>,
    controller_manager: Option<Process>,
    apiserver: Option<Process>,
    etcd: Option<Process>,
    pub(crate) node: Node,
    way: Way,
    index: usize,
    advertise: String,
}

impl Master {
    /// A master on which nothing runs yet.
    pub(crate) fn new(node: Node, way: Way, index: usize) -> Self {
        Self {
            scheduler: None,
            controller_manager: None,
            apiserver: None,
            etcd: None,
            node,
            way,
            index,
            advertise: String::new(),
        }
    }

    /// Agent and HAProxy; the agent is ready.
    pub(crate) fn start_stayput(&mut self) {
        self.node.start_agent();
        self.node.start_haproxy();
    }

    pub(crate) fn start_etcd(&mut self) {
        let mut command = member(&self.node, self.way, self.index);
        self.etcd = Some(Process::start(&mut command, &self.node.path("etcd.log")));
    }

    /// Starts the API server, which says of itself that it is at this address.
    pub(crate) fn start_apiserver(&mut self, advertise: &str) {
        advertise.clone_into(&mut self.advertise);
        let mut command = apiserver(&self.node, advertise);
        let log = self.node.path("kube-apiserver.log");
        self.apiserver = Some(Process::start(&mut command, &log));
    }

    pub(crate) fn has_apiserver(&self) -> bool {
        self.apiserver.is_some()
    }

    pub(crate) fn start_controllers(&mut self) {
        self.start_controller_manager();
        self.start_scheduler();
    }

    fn start_controller_manager(&mut self) {
        let log = self.node.path("kube-controller-manager.log");
        let process = Process::start(&mut controller_manager(&self.node), &log);
        self.controller_manager = Some(process);
    }

    fn start_scheduler(&mut self) {
        let log = self.node.path("kube-scheduler.log");
        self.scheduler = Some(Process::start(&mut scheduler(&self.node), &log));
    }

    /// Whether this master's own API server says that it is ready.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let mut curl = self.node.command("curl");
        let ca = "/etc/kubernetes/pki/ca.crt";
        let url = "https://127.0.0.1:6443/readyz";
        let said = run(curl.args(["-sS", "-m", "5", "--noproxy", "*", "--cacert", ca, url]));
        if said.out == "ok" {
            Ok(())
        } else {
            Err(format!("{}: {said:?}", self.node.name))
        }
    }

    /// Ends the API server at once.
    pub(crate) fn kill_apiserver(&mut self) {
        if let Some(mut apiserver) = self.apiserver.take() {
            apiserver.kill();
        }
    }

    /// Ends every process at once, as a power failure does.
    pub(crate) fn kill(&mut self) {
        let processes = [
            &mut self.scheduler,
            &mut self.controller_manager,
            &mut self.apiserver,
            &mut self.etcd,
        ];
        for process in processes {
            if let Some(mut process) = process.take() {
                process.kill();
            }
        }
        self.node.kill();
    }

    /// Starts again which of the three components has ended, as the kubelet does: each gives up when
    /// what it needs is not there in time.
    pub(crate) fn revive(&mut self) {
        let ended =
            |process: &mut Option<Process>| process.as_mut().is_some_and(|it| it.ended().is_some());
        if ended(&mut self.apiserver) {
            println!("{}: kube-apiserver is started again", self.node.name);
            let advertise = self.advertise.clone();
            self.start_apiserver(&advertise);
        }
        if ended(&mut self.controller_manager) {
            println!(
                "{}: kube-controller-manager is started again",
                self.node.name
            );
            self.start_controller_manager();
        }
        if ended(&mut self.scheduler) {
            println!("{}: kube-scheduler is started again", self.node.name);
            self.start_scheduler();
        }
    }

    /// Every process must be the one that was started.
    pub(crate) fn must_run(&mut self) {
        self.node.must_run();
        let processes = [
            &mut self.etcd,
            &mut self.apiserver,
            &mut self.controller_manager,
            &mut self.scheduler,
        ];
        for process in processes.into_iter().flatten() {
            process.must_run();
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // An API server takes its time to end politely, and nobody waits for it here.
        if !std::thread::panicking() {
            self.kill();
        }
    }
}
