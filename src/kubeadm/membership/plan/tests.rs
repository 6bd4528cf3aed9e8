//! Member lists and what follows from them.

use super::*;

fn member(id: u64, name: &str, url: &str) -> Member {
    Member {
        id,
        name: name.to_owned(),
        peer_urls: vec![format!("https://{url}:2380")],
        client_urls: Vec::new(),
        is_learner: false,
    }
}

fn learner(id: u64, name: &str, url: &str) -> Member {
    Member {
        is_learner: true,
        ..member(id, name, url)
    }
}

fn me() -> Me {
    Me {
        name: "m3".into(),
        peer_url: "https://m3.x:2380".into(),
    }
}

#[test]
fn each_list_has_its_next_step() {
    let two = [member(1, "m1", "m1.x"), member(2, "m2", "10.0.0.2")];
    let with = |third: Member| next(&[two.as_slice(), &[third]].concat(), &me());
    assert_eq!(next(&two, &me()), Ok(Next::Add));
    assert_eq!(with(learner(3, "", "m3.x")), Ok(Next::Promote(3)));
    assert_eq!(with(learner(3, "m3", "M3.x")), Ok(Next::Promote(3)));
    assert_eq!(with(member(3, "m3", "m3.x")), Ok(Next::Member(3)));
    let other = with(member(3, "m3", "10.0.0.3")).unwrap_err();
    assert!(
        other
            .to_string()
            .contains("m3 already, at https://10.0.0.3:2380"),
        "{other}"
    );
    for (there, who) in [
        (learner(3, "m4", "m4.x"), "m4"),
        (learner(3, "", "m4.x"), "https://m4.x:2380"),
    ] {
        let refused = with(there).unwrap_err();
        assert_eq!(refused, Refusal::Learner { who: who.into() });
    }
}

#[test]
fn the_initial_cluster_names_everybody() {
    let mut members = vec![member(1, "m1", "m1.x"), member(2, "m2", "10.0.0.2")];
    members[1].peer_urls.push("https://m2.x:2380".into());
    members.push(learner(3, "", "m3.x"));
    members.push(member(4, "", "nobody.x"));
    assert_eq!(
        initial_cluster(&members, &me()),
        "m1=https://m1.x:2380,m2=https://10.0.0.2:2380,m2=https://m2.x:2380,m3=https://m3.x:2380"
    );
}

#[test]
fn a_leaver_is_found_by_number_name_or_host() {
    let members = [
        member(1, "m1", "m1.x"),
        member(2, "old-name", "10.0.0.2"),
        learner(3, "", "m3.x"),
    ];
    let found = |id, name: &str, host: &str| {
        let leaver = Leaver {
            id,
            names: vec![name.to_owned()],
            hosts: vec![host.to_owned()],
            others: Vec::new(),
        };
        let found = find(&members, &leaver).unwrap();
        found.map(|member| member.id)
    };
    assert_eq!(found(Some(2), "m1", "m3.x"), Some(2));
    assert_eq!(found(None, "m1", "m3.x"), Some(1));
    assert_eq!(found(None, "m2", "10.0.0.2"), Some(2));
    assert_eq!(found(None, "m3", "m3.x"), Some(3));
    assert_eq!(found(Some(9), "m9", "m9.x"), None);
    // One that has not started has no name, and is nobody of an empty name.
    let nobody = Leaver::default();
    assert_eq!(find(&members, &nobody), Ok(None));
}

/// m1 and m3 were given each other's addresses, or m1's went to m3.
#[test]
fn an_address_that_etcd_has_for_another_master_is_nobodys() {
    let leaver = Leaver {
        names: vec!["m3".into(), "m3.x".into()],
        hosts: vec!["m3.x".into(), "10.0.0.1".into()],
        others: ["m1", "m1.x", "m2", "m2.x"].map(str::to_owned).to_vec(),
        ..Leaver::default()
    };
    let m1 = member(1, "m1", "10.0.0.1");
    let found = |members: &[Member]| find(members, &leaver).map(|it| it.map(|member| member.id));
    assert_eq!(found(&[m1.clone(), member(2, "m2", "10.0.0.2")]), Ok(None));
    assert_eq!(found(&[m1.clone(), learner(3, "", "m3.x")]), Ok(Some(3)));
    // A name that nobody knows may be an old one of the leaver's.
    assert_eq!(
        found(&[m1.clone(), member(4, "old", "10.0.0.1")]),
        Ok(Some(4))
    );
    // Its own member's name decides, whatever else is at its address.
    let own = member(3, "m3", "10.0.0.9");
    assert_eq!(found(&[member(4, "old", "10.0.0.1"), own]), Ok(Some(3)));
    let two = [member(4, "old", "10.0.0.1"), learner(5, "", "m3.x")];
    let words = found(&two).unwrap_err().to_string();
    for word in [
        "4 (old, https://10.0.0.1:2380)",
        "5 (not started, https://m3.x:2380)",
        "nothing was removed",
    ] {
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn a_majority_stays() {
    let of = |count: u64| -> Vec<Member> {
        (1..=count)
            .map(|n| member(n, &format!("m{n}"), "x"))
            .collect()
    };
    let leaves = |members: &[Member], who: usize, sick: &[u64]| {
        let sick: Vec<_> = sick.iter().map(|id| (*id, "why".to_owned())).collect();
        may_leave(members, &members[who], &sick)
    };
    let forced = |bar: Result<(), Bar>| bar.unwrap_err().gives_way();
    assert_eq!(leaves(&of(3), 0, &[]), Ok(()));
    assert_eq!(leaves(&of(2), 0, &[]), Ok(()));
    // The leaver's own illness is the best of reasons.
    assert_eq!(leaves(&of(3), 0, &[1]), Ok(()));
    assert_eq!(leaves(&of(1), 0, &[]), Err(Bar::Last("m1".into())));
    assert!(
        !forced(leaves(&of(3), 0, &[2])),
        "one of two is no majority"
    );
    assert!(!forced(leaves(&of(2), 0, &[2])));
    assert!(forced(leaves(&of(4), 0, &[2])), "two of three are");
    assert!(!forced(leaves(&of(5), 0, &[2, 3, 4])));
    let text = leaves(&of(3), 0, &[2]).unwrap_err().to_string();
    assert!(
        text.starts_with("without m1 1 of 2 members would be well (why)"),
        "{text}"
    );
    let mut members = of(1);
    members.push(learner(2, "m2", "x"));
    assert_eq!(leaves(&members, 1, &[]), Ok(()), "a learner has no vote");
    assert_eq!(leaves(&members, 0, &[]), Err(Bar::Last("m1".into())));
}
