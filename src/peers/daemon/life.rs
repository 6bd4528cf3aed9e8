//! The task that owns records and gossip: everything that happens arrives here, one thing after the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::agent::{Link, News};
use super::command::{Command, Counts, Verdict};
use super::disk::Disk;
use super::files::{self, Keys};
use super::members::Members;
use super::multicast::{self, Multicast};
use super::names;
use super::notes::Notes;
use super::places::Turn;
use super::pull::Pulling;
use super::records::{Records, moment};
use super::seeds::Seeds;
use super::seek::Last;
use super::speak::Voice;
use super::{Error, Settings, tell, watchdog};
use crate::clock;
use crate::config::{Cluster, Node};
use crate::control::published::Watched;
use crate::name::Name;
use crate::own;
use crate::peers::gossip::{self, ADDRESSES, Gossip, Identity, Input, Output, Pace, Refusal, Who};
use crate::peers::ledger::Word;
use crate::peers::record::{Digest, Record};
use crate::peers::statement::{Says, Statement};
use crate::peers::store::{self, Loaded};
use crate::peers::transport::{self, Handle, Incoming, Limits, Peer, To};
use crate::pki::certificate::Certificate;
use crate::root::Root;
use crate::source::interface::{self, Snapshot};
use crate::source::netlink;
use crate::source::watch::Watch;
use crate::writer::{Interrupted, Writer};

/// Who is known is saved this often, if it has changed.
const MEMBERS: Duration = Duration::from_mins(1);
/// How often what was waited for in vain is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Digests of others that are remembered.
const DIGESTS: usize = gossip::MEMBERS;

/// The kind of what is said of a record that is refused.
const RECORD: &str = "record";

/// Why a life ends.
pub(super) enum End {
    /// Somebody asked for it.
    Halted,
    /// The files say something else now.
    Changed(Box<(Cluster, Node)>),
}

/// What is done once all that is held is saved.
#[derive(Debug)]
pub(super) enum After {
    /// Others are told of a record.
    Tell(Vec<u8>),
    /// Whoever offered records is answered.
    Answer(oneshot::Sender<Vec<Verdict>>, Vec<Verdict>),
}

/// See the module.
pub(super) struct Daemon {
    pub(super) root: Root,
    pub(super) writer: Writer,
    pub(super) cluster: Cluster,
    pub(super) node: Node,
    pub(super) handle: Handle,
    incoming: mpsc::Receiver<Incoming>,
    own: watch::Receiver<Option<Peer>>,
    /// Once there is a certificate.
    pub(super) gossip: Option<Gossip<Records>>,
    pub(super) records: Records,
    /// The version that everybody here knows.
    known: u64,
    authorities: Option<Vec<Certificate>>,
    loaded: bool,
    pub(super) voice: Voice,
    pub(super) link: Link,
    pub(super) book: Option<Watched>,
    pub(super) agent: bool,
    told_agent: bool,
    /// This node's addresses.
    pub(super) here: Vec<IpAddr>,
    interfaces: Option<netlink::Watch>,
    pub(super) multicast: Multicast,
    datagrams: mpsc::Receiver<(Vec<u8>, SocketAddr)>,
    pub(super) disk: Disk<After>,
    files: Watch,
    pub(super) seeds: Seeds,
    pub(super) turn: Turn,
    pub(super) pulling: Pulling,
    /// Of earlier runs, with this run's generation.
    pub(super) members: Members,
    saved_members: Option<Members>,
    saving: JoinSet<()>,
    begun: Instant,
    /// When anybody spoke last, since the start or a move.
    pub(super) heard: Option<Instant>,
    pub(super) digests: BTreeMap<Who, Digest>,
    pub(super) counts: Counts,
    pub(super) key_problems: Vec<String>,
    notes: Notes,
    pub(super) last: Last,
    pub(super) rng: SmallRng,
}

impl Daemon {
    /// Reads what is on disk, listens, and follows what there is to follow.
    pub(super) async fn start(
        settings: &Settings,
        writer: &Writer,
        cluster: Cluster,
        node: Node,
    ) -> Result<Self, Error> {
        let (root, writer) = (settings.root.clone(), writer.clone());
        let files = Watch::start(&writer, &root, files::keys()).await?;
        let reading = root.clone();
        let members = writer.run(move || Members::load(&reading)).await?;
        let transport = transport::Settings {
            root: root.clone(),
            writer: writer.clone(),
            domain: cluster.domain.clone(),
            port: cluster.peers.port,
            listen: cluster.peers.listen.clone(),
            known: members.contacts.clone(),
            limits: Limits::default(),
        };
        let seen = read_keys(&writer, &root, &cluster).await?.seen;
        let clock = move || moment(seen);
        let (handle, incoming) = transport::start(transport, std::sync::Arc::new(clock)).await?;
        let ours = own::are_ours(&root, &node);
        let snapshot = match ours {
            true => netlink::snapshot().await.ok(),
            false => None,
        };
        let (multicast, datagrams) = Multicast::new(cluster.peers.port);
        let mut seed = [0; 32];
        // Without chance everything works, and at the same moment as elsewhere.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        let mut daemon = Self {
            own: handle.follow_own(),
            handle,
            incoming,
            gossip: None,
            records: Records::new(),
            known: 0,
            authorities: None,
            loaded: false,
            voice: Voice::default(),
            link: Link::start(&root),
            book: None,
            agent: false,
            told_agent: false,
            here: Vec::new(),
            interfaces: ours.then(netlink::Watch::start),
            multicast,
            datagrams,
            disk: Disk::new(root.clone(), writer.clone()),
            files,
            seeds: Seeds::new(&root, &writer, &cluster),
            turn: Turn::default(),
            pulling: Pulling::default(),
            members,
            saved_members: None,
            saving: JoinSet::new(),
            begun: Instant::now(),
            heard: None,
            digests: BTreeMap::new(),
            counts: Counts::default(),
            key_problems: Vec::new(),
            notes: Notes::default(),
            last: Last::default(),
            rng: SmallRng::from_seed(seed),
            root,
            writer,
            cluster,
            node,
        };
        if let Some(snapshot) = snapshot {
            daemon.looked(&snapshot);
        }
        daemon.read_keys().await?;
        daemon.be_somebody();
        if daemon.gossip.is_none() {
            tracing::info!(
                "no certificate to take part with yet (a master's pki/stayput, or the kubelet's): records are only pulled"
            );
        }
        Ok(daemon)
    }

    /// Until it is told to end. May be cancelled.
    pub(super) async fn live(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        mut halted: watch::Receiver<bool>,
    ) -> End {
        let mut watchdog = watchdog();
        let mut members = every(MEMBERS);
        let mut again = every(AGAIN);
        let mut seek = self.first_search();
        let mut show = every(super::seek::SHOW);
        let mut commanded = true;
        tracing::info!("ready");
        loop {
            self.spread();
            let deadline = self.gossip.as_ref().and_then(Gossip::deadline);
            let deadline = deadline.map(|after| self.begun + after);
            tokio::select! {
                biased;
                _ = halted.wait_for(|halt| *halt) => return End::Halted,
                done = self.disk.turn(self.records.version()) => self.saved(done),
                command = commands.recv(), if commanded => match command {
                    Some(command) => self.obey(command),
                    None => commanded = false,
                },
                news = self.link.next() => self.agent_says(news),
                snapshot = next_snapshot(&mut self.interfaces) => match snapshot {
                    Ok(snapshot) => self.looked(&snapshot),
                    Err(error) => tracing::warn!("this node's addresses are not known: {error}"),
                },
                _ = self.files.next() => self.keys_changed().await,
                _ = self.own.changed() => self.be_somebody(),
                _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
                () = until(deadline) => self.gossip(Input::Tick),
                () = until(self.voice.again()) => self.speak(),
                () = sleep_until(seek) => seek = self.search(),
                _ = show.tick() => self.show(),
                _ = members.tick() => self.save_members(),
                _ = again.tick() => self.try_again().await,
                pulled = self.pulling.next() => self.pulled(pulled),
                Some((bytes, from)) = self.datagrams.recv() => self.overheard(&bytes, from),
                Some(incoming) = self.incoming.recv() => self.received(incoming),
            }
        }
    }

    /// Saves what there is to save.
    pub(super) async fn close(mut self) {
        let version = self.records.version();
        self.disk.close(self.records.ledger(), version).await;
        self.save_members();
        while self.saving.join_next().await.is_some() {}
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    // --- What comes in ----------------------------------------------------------------------------

    fn received(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Frame { peer, bytes, .. } => {
                let Some(from) = names::who(&peer) else {
                    return;
                };
                self.heard = Some(Instant::now());
                if let Some(digest) = gossip::digest(&bytes)
                    && (self.digests.len() < DIGESTS || self.digests.contains_key(&from))
                {
                    self.digests.insert(from.clone(), Digest(digest));
                }
                self.gossip(Input::Frame {
                    from: &from,
                    bytes: &bytes,
                });
            }
            Incoming::Pull { answer, .. } => answer.send(super::pull::answer(&self.records)),
        }
    }

    /// A datagram of multicast: a record, or nothing.
    fn overheard(&mut self, bytes: &[u8], from: SocketAddr) {
        self.counts.multicast_heard += 1;
        let verdict = self.records.take(bytes);
        if let Verdict::Refused(why) = &verdict {
            self.refused(&from.ip().to_canonical().to_string(), why);
        }
        let of_interest = match verdict {
            Verdict::News => true,
            Verdict::Known => self.is_lonely(),
            Verdict::Outdone | Verdict::Refused(_) => false,
        };
        let says = Record::decode(bytes).ok();
        let says = says.and_then(|it| Statement::decode(&it.statement, self.root.loopback()).ok());
        if let Some(statement) = says.filter(|_| of_interest)
            && let Says::At(addresses) = statement.says
        {
            self.spread_masters();
            let at = addresses.into_iter().map(|ip| self.listening(ip));
            self.greet(Peer::Master(statement.master), at.collect());
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Offer { records, reply } => {
                let verdicts: Vec<Verdict> = records
                    .iter()
                    .map(|record| {
                        let verdict = self.records.take(record);
                        if verdict == Verdict::News {
                            self.disk.after_saving(After::Tell(record.clone()));
                        }
                        verdict
                    })
                    .collect();
                self.disk.after_saving(After::Answer(reply, verdicts));
            }
            // Who asked may have gone.
            Command::Look(reply) => drop(reply.send(self.picture())),
        }
    }

    fn agent_says(&mut self, news: News) {
        match news {
            News::Book(book) => {
                if !std::mem::replace(&mut self.agent, true) {
                    tracing::info!("following the agent");
                    self.link.again();
                }
                let own = book.own.as_ref().map(|own| own.place.addresses.clone());
                self.book = Some(book);
                self.spread_masters();
                // It may be about to hear of what the interfaces have said already.
                if let Some(own) = own.filter(|_| self.interfaces.is_none()) {
                    self.is_at(own);
                }
                self.speak();
            }
            News::Gone => self.agent = false,
        }
    }

    /// The node's interfaces have changed.
    fn looked(&mut self, snapshot: &Snapshot) {
        if self.cluster.peers.multicast {
            self.multicast.join(multicast::links(snapshot));
        }
        let master = self.node.master().and_then(|own| self.cluster.master(own));
        let kept = master.into_iter();
        let kept: Vec<_> = kept
            .flat_map(|master| self.cluster.routes.kept(master))
            .collect();
        let snapshot = snapshot.without_kept(&kept);
        self.is_at(interface::select(
            &snapshot,
            &self.node.selection,
            &self.here,
        ));
    }

    /// Where this node is now. Old connections lead nowhere.
    fn is_at(&mut self, addresses: Vec<IpAddr>) {
        let differs = addresses.iter().any(|address| !self.here.contains(address));
        if addresses.is_empty() || !differs && addresses.len() == self.here.len() {
            return;
        }
        let first = std::mem::replace(&mut self.here, addresses).is_empty();
        if first {
            return self.gossip(Input::Moved(self.own_sockets()));
        }
        tracing::info!("this node is at {} now", shown(&self.here));
        self.handle.moved_itself();
        self.heard = None;
        self.turn.begin();
        self.gossip(Input::Moved(self.own_sockets()));
        self.voice.show_for_a_while();
        self.show();
    }

    pub(super) fn own_sockets(&self) -> Vec<SocketAddr> {
        let own = self.here.iter().take(ADDRESSES);
        own.map(|ip| self.listening(*ip)).collect()
    }

    /// Where a node of this address listens.
    pub(super) fn listening(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.cluster.peers.port)
    }

    // --- Who this node is ---------------------------------------------------------------------------

    /// Takes part under the name of its certificate.
    fn be_somebody(&mut self) {
        let own = self.own.borrow_and_update().clone();
        let Some(who) = own.as_ref().and_then(names::who) else {
            return;
        };
        if self
            .gossip
            .as_ref()
            .is_some_and(|gossip| *gossip.identity().who() == who)
        {
            return;
        }
        let generation = self
            .members
            .generation
            .saturating_add(1)
            .max(clock::unix_now());
        let identity = match Identity::new(who.clone(), generation, self.own_sockets()) {
            Ok(identity) => identity,
            Err(error) => return tracing::error!("cannot take part as {who}: {error}"),
        };
        tracing::info!("taking part as {who}, at {}", shown(&self.here));
        self.members.generation = generation;
        let rng = SmallRng::from_rng(&mut self.rng);
        self.gossip = Some(Gossip::new(identity, Pace::default(), rng, self.now()));
        self.gossip(Input::Known(self.members.members.clone()));
        self.spread_masters();
        self.speak();
    }

    async fn keys_changed(&mut self) {
        if let Err(error) = self.read_keys().await {
            tracing::error!("certificates are not followed: {error}");
        }
    }

    async fn read_keys(&mut self) -> Result<(), Error> {
        let keys = read_keys(&self.writer, &self.root, &self.cluster).await?;
        for problem in &keys.problems {
            if !self.key_problems.contains(problem) {
                tracing::warn!("{problem}");
            }
        }
        let seen = keys.seen;
        self.key_problems = keys.problems;
        self.records.not_before(seen);
        if let Some(signer) = &keys.signer {
            self.records
                .not_before(signer.certificate().certificate.not_before);
        }
        let authorities = keys.trust.as_ref().map(|trust| trust.authorities.to_vec());
        if authorities != self.authorities || self.disk.is_spared() {
            if let Some(trust) = &keys.trust
                && (!self.loaded || self.disk.is_spared())
            {
                self.load(trust.clone()).await?;
            }
            for why in self.records.believe(keys.trust) {
                tracing::warn!("a record does not count any more: {why}");
            }
            self.authorities = authorities;
        }
        self.voice.sign_with(keys.signer);
        self.speak();
        Ok(())
    }

    /// Reads the records that were saved.
    async fn load(&mut self, trust: crate::peers::trust::Trust) -> Result<(), Interrupted> {
        let root = self.root.clone();
        let loaded = self.writer.run(move || store::load(&root, &trust)).await?;
        self.loaded = true;
        if !matches!(loaded, Loaded::Unreadable(_)) {
            self.disk.use_it();
        }
        match loaded {
            Loaded::Good { ledger, refused } => {
                for why in refused {
                    tracing::warn!("a saved record does not count any more: {why}");
                }
                self.records.load(ledger);
                self.tell_agent();
            }
            Loaded::Fresh => {}
            Loaded::Damaged { reason, set_aside } => {
                let place = set_aside.map_or_else(
                    || "it could not be set aside".to_owned(),
                    |path| format!("it lies at {} now", path.display()),
                );
                tracing::error!(
                    "{} is damaged ({reason}; {place}); other nodes send its records again",
                    store::PATH
                );
            }
            Loaded::Unreadable(unreadable) => {
                if !self.disk.is_spared() {
                    tracing::error!("{unreadable}");
                }
                self.disk.spare();
            }
        }
        Ok(())
    }

    // --- What goes out ------------------------------------------------------------------------------

    /// Hands something to the gossip, and does what it wants done.
    pub(super) fn gossip(&mut self, input: Input<'_>) {
        let now = self.begun.elapsed();
        let Some(gossip) = &mut self.gossip else {
            return;
        };
        for output in gossip.handle(input, &mut self.records, now) {
            match output {
                Output::Send {
                    to,
                    addresses,
                    frame,
                } => self
                    .handle
                    .send(To::Peer(names::peer(&to), addresses), frame),
                Output::Renewed(identity) => self.members.generation = identity.generation(),
                Output::Refused { from, why } => {
                    if !matches!(why, Refusal::Record(_)) {
                        self.counts.malformed += 1;
                    }
                    let (from, kind) = (from.to_string(), kind(&why));
                    if self.notes.is_new(&from, kind, std::time::Instant::now()) {
                        tracing::warn!("{from} sends what is not taken: {why}");
                    }
                }
                Output::Up(identity) => tracing::debug!("up: {identity:?}"),
                Output::Down(identity) => tracing::debug!("down: {identity:?}"),
                // Who sent it is known by now; a search of its own goes on meanwhile.
                Output::News { .. } | Output::Lonely => {}
            }
        }
    }

    pub(super) fn refused(&mut self, from: &str, why: &str) {
        if self.notes.is_new(from, RECORD, std::time::Instant::now()) {
            tracing::warn!("{from} sends what is not taken: {why}");
        }
    }

    /// Something was taken: everybody here hears of it.
    fn spread(&mut self) {
        // What is said then may be news itself.
        while self.known != self.records.version() {
            self.known = self.records.version();
            self.spread_masters();
            self.leave_old_places();
            self.tell_agent();
            self.speak();
        }
    }

    fn tell_agent(&mut self) {
        let counting = self.records.counting();
        // Nothing known is no reason to forget what the agent knows.
        if !counting.is_empty() || self.told_agent {
            self.told_agent = true;
            self.link.tell(counting);
        }
    }

    /// Connections to where a master was lead nowhere, or to somebody else.
    fn leave_old_places(&self) {
        let effective = self.records.ledger().effective();
        for connection in self.handle.connections() {
            if let Peer::Master(name) = &connection.peer
                && let Some(Word::At(addresses)) = effective.get(name).map(|it| &it.word)
                && !addresses.contains(&connection.at.ip().to_canonical())
            {
                self.handle.moved(&connection.peer);
            }
        }
    }

    fn saved(&mut self, done: Option<Vec<After>>) {
        let Some(done) = done else {
            let version = self.records.version();
            return self.disk.save(self.records.ledger(), version);
        };
        for after in done {
            match after {
                After::Tell(record) => self.gossip(Input::Tell(&record)),
                // Who asked may have gone.
                After::Answer(reply, verdicts) => drop(reply.send(verdicts)),
            }
        }
    }

    /// The masters that count, and where they listen: by signed records, else by the book, else by the
    /// cluster file.
    pub(super) fn masters(&self) -> BTreeMap<Name, Vec<SocketAddr>> {
        let effective = self.records.ledger().effective();
        let mut masters: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for (name, effective) in &effective {
            if let Word::At(addresses) = &effective.word {
                masters.insert(name.clone(), addresses.clone());
            }
        }
        let book = self.book.iter().flat_map(|book| &book.masters);
        let book = book.map(|(name, place)| (name, &place.addresses));
        let file = self
            .cluster
            .masters
            .iter()
            .map(|it| (&it.name, &it.addresses));
        for (name, addresses) in book.chain(file) {
            if effective
                .get(name)
                .is_none_or(|it| it.word != Word::Removed)
            {
                let known = masters.entry(name.clone()).or_default();
                known.extend(addresses.iter().filter(|_| !effective.contains_key(name)));
            }
        }
        let listening = |(name, addresses): (Name, Vec<IpAddr>)| {
            let mut at: Vec<SocketAddr> = Vec::new();
            for address in addresses {
                let address = self.listening(address);
                if !at.contains(&address) {
                    at.push(address);
                }
            }
            (name, at)
        };
        masters.into_iter().map(listening).collect()
    }

    fn spread_masters(&mut self) {
        self.gossip(Input::Masters(self.masters()));
    }

    fn save_members(&mut self) {
        while self.saving.try_join_next().is_some() {}
        let now = Members {
            generation: self.members.generation,
            members: match &self.gossip {
                Some(gossip) => gossip.known(),
                None => self.members.members.clone(),
            },
            contacts: self.handle.known(),
        };
        let saved = self.saved_members.as_ref();
        if saved.is_some_and(|saved| now.says_the_same(saved)) {
            return;
        }
        self.saved_members = Some(now.clone());
        let (root, writer) = (self.root.clone(), self.writer.clone());
        self.saving.spawn(async move {
            let saved = writer.run(move || now.save(&root)).await;
            let saved = saved.map_err(|error| error.to_string());
            if let Err(why) = saved.and_then(|saved| saved.map_err(|error| error.to_string())) {
                tracing::warn!("who is known is not saved: {why}");
            }
        });
    }

    async fn try_again(&mut self) {
        if self.disk.is_spared() {
            self.keys_changed().await;
        }
        // A certificate may have ended meanwhile, or begun to count.
        self.speak();
    }
}

/// Of the same kind something is said once, however it differs.
fn kind(why: &Refusal) -> &'static str {
    match why {
        Refusal::Malformed(_) => "frame",
        Refusal::Packet(_) => "packet",
        Refusal::Impostor(_) => "impostor",
        Refusal::Twin => "twin",
        Refusal::Record(_) => RECORD,
        Refusal::Liar => "liar",
        Refusal::Identity(_) => "identity",
    }
}

async fn read_keys(writer: &Writer, root: &Root, cluster: &Cluster) -> Result<Keys, Interrupted> {
    let (root, cluster) = (root.clone(), cluster.clone());
    writer.run(move || Keys::load(&root, &cluster)).await
}

async fn next_snapshot(watch: &mut Option<netlink::Watch>) -> Result<Snapshot, netlink::Error> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn shown(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "no known address".to_owned(),
        false => texts.join(" "),
    }
}
