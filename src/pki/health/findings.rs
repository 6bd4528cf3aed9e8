//! What is odd about an item, each with what to do.

use super::State;
use crate::pki::certificate::Certificate;
use crate::pki::inventory::{Exposed, Found, Inventory, KeyState, Present, Signer};
use crate::pki::issue::Validity;
use crate::pki::key::is_p256;
use crate::pki::profile::Usages;
use crate::pki::wanted::{Item, Kind, Wanted};
use crate::pki::window::{Phase, between, date};

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The state that it puts the item into; [`State::Ok`] for what is only worth knowing.
    pub state: State,
    /// What it is, and what to do.
    pub text: String,
}

/// All that was found about an item, worst first.
pub fn findings(item: &Item, wanted: &Wanted, inventory: &Inventory, now: i64) -> Vec<Finding> {
    let mut look = Look {
        item,
        wanted,
        inventory,
        now,
        findings: Vec::new(),
    };
    look.found(inventory.of(item));
    look.findings.sort_by_key(|finding| finding.state);
    look.findings
}

struct Look<'a> {
    item: &'a Item,
    wanted: &'a Wanted,
    inventory: &'a Inventory,
    now: i64,
    findings: Vec<Finding>,
}

impl Look<'_> {
    fn add(&mut self, state: State, text: impl Into<String>) {
        let text = text.into();
        self.findings.push(Finding { state, text });
    }

    fn found(&mut self, found: &Found) {
        match found {
            Found::Absent => self.missing(),
            Found::Half { present, missing } => {
                let (present, missing) = (present.display(), missing.display());
                let text = format!("{present} is there without {missing}");
                self.add(State::BrokenPair, text);
            }
            Found::Unusable { path, reason } => {
                self.add(State::Unusable, format!("{}: {reason}", path.display()));
            }
            Found::KeyPair { exposed } => self.modes(exposed),
            Found::Present(present) => {
                self.modes(&present.exposed);
                self.link(present);
                self.pair(present);
                self.contents(present);
                match &self.item.kind {
                    Kind::Authority { .. } => {
                        self.authority_times(Validity::of(&present.certificate));
                    }
                    _ => self.leaf_times(present),
                }
                self.signer(present);
                self.kubeconfig(present);
            }
        }
    }

    fn missing(&mut self) {
        let advice = match self.item.kind {
            Kind::Authority { .. } | Kind::KeyPair { .. } => {
                "copy it from another master with `stayput certs bundle`, or let \
                 `stayput certs init --new-cluster` make it where the cluster is made"
            }
            _ if self.item.is_stayputs() => "the next `stayput certs renew` issues it",
            Kind::Leaf { .. } | Kind::Kubeconfig { .. } => "`stayput certs init` issues it",
        };
        self.add(State::Missing, advice);
    }

    fn modes(&mut self, exposed: &[Exposed]) {
        for Exposed { path, mode, want } in exposed {
            let path = path.display();
            let text = format!("{path} has mode {mode:04o}: `chmod {want:04o} {path}`");
            self.add(State::WrongMode, text);
        }
    }

    /// Reported before its time, because the renewal will be refused.
    fn link(&mut self, present: &Present) {
        let link = self.inventory.links.get(&self.item.id);
        if let Some(path) = link.filter(|_| !self.is_renewed_by_the_kubelet(present)) {
            let text = format!(
                "{} is a symbolic link, which no renewal replaces: put the file that it leads to in \
                 its place",
                path.display()
            );
            self.add(State::Linked, text);
        }
    }

    fn is_renewed_by_the_kubelet(&self, present: &Present) -> bool {
        present.key == KeyState::Elsewhere && self.item.is_kubelets()
    }

    fn pair(&mut self, present: &Present) {
        let authority = matches!(self.item.kind, Kind::Authority { .. });
        match present.key {
            KeyState::Absent if authority => {
                let text = "its key is not on this machine: what it signs is issued elsewhere";
                self.add(State::Ok, text);
            }
            KeyState::Mismatch | KeyState::Absent => {
                self.add(
                    State::BrokenPair,
                    "its key does not belong to its certificate",
                );
            }
            KeyState::Matches | KeyState::Elsewhere => {}
        }
    }

    /// Names have to be there; a subject or usages of another release are only worth knowing.
    fn contents(&mut self, present: &Present) {
        if self.item.is_stayputs() {
            return self.speaks(&present.certificate);
        }
        let (is, wants) = (&present.certificate.profile, &self.item.profile);
        let lacks = is.names.lacks(&wants.names);
        if !lacks.is_empty() && !matches!(self.item.kind, Kind::Authority { .. }) {
            let id = &self.item.id;
            let text = format!("lacks {lacks}: `stayput certs renew {id} --force` adds it");
            self.add(State::NameMissing, text);
        }
        if !is.same_subject(wants) {
            let organizations = wants.organizations.iter();
            let mut parts: Vec<_> = organizations.map(|o| format!("O={o}")).collect();
            parts.push(format!("CN={}", wants.common_name));
            let text = format!("kubeadm of this release writes {}", parts.join(", "));
            self.add(State::Ok, text);
        }
        let lacks = |usage: fn(&Usages) -> bool| usage(&wants.usages) && !usage(&is.usages);
        for (lacking, usage) in [
            (lacks(|usages| usages.server), "servers"),
            (lacks(|usages| usages.client), "clients"),
        ] {
            if lacking {
                let text = format!("its extended key usages do not name {usage}");
                self.add(State::Ok, text);
            }
        }
    }

    /// Other nodes listen to exactly the name, the group, the usages and the kind of key that are wanted.
    fn speaks(&mut self, certificate: &Certificate) {
        let (is, wants) = (&certificate.profile, &self.item.profile);
        let named = is.same_subject(wants) && is.names == wants.names;
        let used = is.usages == wants.usages;
        if named && used && is_p256(&certificate.public_key) {
            return;
        }
        let text = format!(
            "no node would listen to it: it has to be for {} alone, in the group {}, for servers and clients, with \
             a key of P-256: `stayput certs renew {} --force` issues such a one",
            wants.common_name,
            wants.organizations.concat(),
            self.item.id
        );
        self.add(State::Unusable, text);
    }

    /// An authority is due once it is too short for what it signs, which is then shortened.
    fn authority_times(&mut self, validity: Validity) {
        let signs = |item: &&Item| item.authority() == Some(&self.item.id);
        let leaves = self.wanted.items.iter().filter(signs);
        let longest = leaves.map(|item| item.validity).max();
        let window = validity.window(longest.unwrap_or(self.wanted.renew_before));
        if self.ended(validity, window) {
            return;
        }
        let text = format!(
            "ends in {}, at {}: what it signs is shortened; plan its replacement",
            between(self.now, validity.not_after),
            date(validity.not_after)
        );
        self.add(State::Due, text);
    }

    fn leaf_times(&mut self, present: &Present) {
        let validity = Validity::of(&present.certificate);
        let own = self.is_renewed_by_the_kubelet(present);
        let window = validity.window(self.wanted.renew_before);
        // The kubelet renews after 70 to 90 % of the lifetime (client-go's certificate manager), so
        // that less than a tenth means that it does not.
        let window = if own {
            window.min(validity.part(10))
        } else {
            window
        };
        let authority = self.authority();
        if !self.ended(validity, window) {
            let rest = between(self.now, validity.not_after);
            if own {
                let text = format!("expires in {rest}: the kubelet should have renewed it");
                self.add(State::Due, text);
            } else if present.key == KeyState::Elsewhere {
                let id = &self.item.id;
                let text = format!(
                    "expires in {rest}, in a file of its own, which stayput does not renew: renew it \
                     there, or let `stayput certs renew {id} --force` write the kubeconfig anew"
                );
                self.add(State::Due, text);
            } else {
                self.due(&rest, validity, authority);
            }
        }
        self.outlives(validity, authority);
    }

    /// A leaf whose end is near, as the plan sees it: renewed only if that gains time.
    fn due(&mut self, rest: &str, old: Validity, authority: Option<Validity>) {
        let whole = Validity::starting(self.now, self.item.validity);
        let new = authority.map_or(whole, |authority| whole.within(authority));
        let end = date(new.not_after);
        if new.not_after > old.not_after {
            let text = format!("expires in {rest}: `stayput certs renew` renews it");
            self.add(State::Due, text);
        } else if new.not_after < whole.not_after {
            let text = format!("expires in {rest}, and its authority at {end}: no renewal helps");
            self.add(State::AuthorityEnds, text);
        } else {
            let text = format!("expires in {rest}; a new one would end no later, at {end}");
            self.add(State::Ok, text);
        }
    }

    /// Says whether there is nothing more to say of the times.
    fn ended(&mut self, validity: Validity, window: i64) -> bool {
        match validity.phase(window, self.now) {
            Phase::Valid => {}
            Phase::Due => return false,
            Phase::Expired => {
                let ago = between(validity.not_after, self.now);
                let at = date(validity.not_after);
                self.add(State::Expired, format!("expired {ago} ago, at {at}"));
            }
            Phase::NotYetValid => {
                let from = date(validity.not_before);
                let text = format!("is valid only from {from} on: check this machine's clock");
                self.add(State::NotYetValid, text);
            }
        }
        true
    }

    /// A certificate is accepted only while its authority is valid, too.
    fn outlives(&mut self, validity: Validity, authority: Option<Validity>) {
        let Some(authority) = authority else {
            return;
        };
        let end = date(authority.not_after);
        if self.now > authority.not_after {
            let text = format!("its authority ended at {end}: nobody accepts it any more");
            self.add(State::AuthorityEnds, text);
        } else if validity.not_after > authority.not_after {
            self.add(State::Ok, format!("its authority ends earlier, at {end}"));
        }
    }

    /// From when to when its authority is valid.
    fn authority(&self) -> Option<Validity> {
        match self.inventory.found.get(self.item.authority()?) {
            Some(Found::Present(present)) => Some(Validity::of(&present.certificate)),
            _ => None,
        }
    }

    fn signer(&mut self, present: &Present) {
        let authority = self.item.authority().unwrap_or_default();
        match &present.signer {
            Signer::Ours => {}
            Signer::Foreign(issuer) => {
                let text = format!("was signed by {issuer}, not by {authority}");
                self.add(State::Foreign, text);
            }
            Signer::Unknown => {
                let text = format!("who signed it is unknown without its authority {authority}");
                self.add(State::Ok, text);
            }
        }
    }

    fn kubeconfig(&mut self, present: &Present) {
        let (
            Some(is),
            Kind::Kubeconfig {
                server, authority, ..
            },
        ) = (&present.kubeconfig, &self.item.kind)
        else {
            return;
        };
        let (id, path) = (&self.item.id, self.item.path().display());
        let own = self.is_renewed_by_the_kubelet(present);
        if !is.trusts_authority {
            let remedy = if own {
                format!("put this node's into {path}")
            } else {
                format!("`stayput certs renew {id} --force` puts that right")
            };
            let text = format!("trusts another authority than this node's {authority}: {remedy}");
            self.add(State::ForeignAuthority, text);
        }
        if is.server != *server {
            let remedy = if own {
                String::new()
            } else {
                format!(", or let `stayput certs renew {id} --force` do it")
            };
            let text = format!(
                "points to {}, not to {server}: edit `server` in {path}{remedy}",
                is.server
            );
            self.add(State::WrongServer, text);
        }
    }
}
