//! Who may begin a handshake: of each source a few, and of all together not many.
//!
//! Whoever comes when all places are taken gets the place of the oldest one of the source that has most of
//! them: an honest handshake is over in a few round trips, and one that is drawn out is not waited for.

use std::net::{IpAddr, Ipv6Addr};

use tokio::time::Instant;

use super::rates::Rates;

/// The number of a place.
pub(super) type Place = u64;

/// Whether one may come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has this place; somebody else may have lost another for it.
    Come { place: Place, loses: Option<Place> },
    /// It has too many places, or comes too often.
    Stay,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    places: usize,
    places_of_one: usize,
    /// In the order in which they came.
    taken: Vec<(Place, IpAddr)>,
    rates: Rates,
    next: Place,
}

impl Gate {
    /// `rate`: of one source each second, and at once.
    pub(super) fn new(places: usize, places_of_one: usize, rate: (u32, u32)) -> Self {
        Self {
            places,
            places_of_one,
            taken: Vec::new(),
            rates: Rates::new(rate),
            next: 0,
        }
    }

    /// Somebody comes.
    pub(super) fn ask(&mut self, source: IpAddr, now: Instant) -> Answer {
        let source = network(source);
        if self.of(source) >= self.places_of_one || !self.rates.try_take(source, now) {
            return Answer::Stay;
        }
        let loses = (self.taken.len() >= self.places).then(|| self.least_worthy());
        let loses = loses.flatten();
        if let Some(place) = loses {
            self.leave(place);
        }
        let place = self.next;
        self.next += 1;
        self.taken.push((place, source));
        Answer::Come { place, loses }
    }

    /// A handshake is over.
    pub(super) fn leave(&mut self, place: Place) {
        self.taken.retain(|(taken, _)| *taken != place);
    }

    fn of(&self, source: IpAddr) -> usize {
        let own = |(_, taken): &&(Place, IpAddr)| *taken == source;
        self.taken.iter().filter(own).count()
    }

    fn least_worthy(&self) -> Option<Place> {
        // The first of equals is the oldest.
        let worst = self.taken.iter().rev();
        worst
            .max_by_key(|(_, source)| self.of(*source))
            .map(|(place, _)| *place)
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which one machine may have
/// for itself (RFC 4291, 2.5.4).
pub(super) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::transport::rates::SOURCES;

    fn gate() -> Gate {
        Gate::new(4, 3, (1, 5))
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn one_source_has_a_few_places() {
        let (mut gate, now) = (gate(), Instant::now());
        for place in 0..3 {
            let come = Answer::Come { place, loses: None };
            assert_eq!(gate.ask(ip(1), now), come);
        }
        assert_eq!(gate.ask(ip(1), now), Answer::Stay);
        gate.leave(1);
        assert_ne!(gate.ask(ip(1), now), Answer::Stay);
    }

    #[test]
    fn the_oldest_of_the_greediest_makes_room() {
        let (mut gate, now) = (gate(), Instant::now());
        for source in [2, 1, 1, 3] {
            gate.ask(ip(source), now);
        }
        let answer = gate.ask(ip(4), now);
        let (place, loses) = (4, Some(1));
        assert_eq!(answer, Answer::Come { place, loses });
        let answer = gate.ask(ip(5), now);
        let (place, loses) = (5, Some(0));
        assert_eq!(answer, Answer::Come { place, loses }, "all have one");
        assert_eq!(gate.taken.len(), 4);
    }

    #[test]
    fn whoever_comes_too_often_waits() {
        let (mut gate, now) = (gate(), Instant::now());
        let mut come = |now| match gate.ask(ip(1), now) {
            Answer::Come { place, .. } => {
                gate.leave(place);
                true
            }
            Answer::Stay => false,
        };
        assert_eq!((0..9).filter(|_| come(now)).count(), 5);
        assert!(come(now + std::time::Duration::from_secs(1)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_the_memory_ends() {
        let (mut gate, now) = (gate(), Instant::now());
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(of("2001:db8::1")), network(of("2001:db8::ffff:2")));
        assert_ne!(network(of("2001:db8::1")), network(of("2001:db8:0:1::1")));
        assert_eq!(network(of("::ffff:10.0.0.1")), ip(1));
        for high in 0..5000_u16 {
            let source = Ipv6Addr::new(0x2001, high, 0, 0, 0, 0, 0, 1);
            gate.ask(source.into(), now);
        }
        assert!(gate.rates.all.len() <= SOURCES && gate.taken.len() <= 4);
    }
}
