//! What the workers of one proxy write for each other.

use std::fmt::Debug;

use leastload_core::membership::roster::{self, Listing, MOST_ENDPOINTS};
use leastload_core::memory::Memory;
use leastload_core::proxy::Proxy as _;
use leastload_core::records::{
    self, Clusters, Epoch, Lease, Presence, Roster, Source, Standing, State,
};
use prost::Message;

use crate::roster::{distinct, live};

/// Input: which record, and its bytes.
pub fn records(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 6 {
        0 => round_trip::<Lease>(bytes),
        1 => round_trip::<Epoch>(bytes),
        2 => round_trip::<Presence>(bytes),
        3 => {
            round_trip::<Clusters>(bytes);
            clusters(bytes);
        }
        4 => round_trip::<State>(bytes),
        _ => {
            round_trip::<Roster>(bytes);
            strange_roster(bytes);
        }
    }
}

fn round_trip<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    let proxy = Memory::default();
    assert!(proxy.shared_swap("key", bytes, None));
    let (read, _) = records::read::<M>(&proxy, "key").expect("it is there");
    let Ok(record) = M::decode(bytes) else {
        assert_eq!(read, M::default(), "what cannot be read counts as empty");
        return;
    };
    assert_eq!(read, record);
    let written = record.encode_to_vec();
    assert_eq!(M::decode(written.as_slice()).as_ref(), Ok(&record), "as it was written");
    let updated = records::update::<M>(&proxy, "key", |_| true).expect("nobody else writes");
    assert_eq!(updated, record);
    assert_eq!(proxy.shared_get("key").expect("still there").0, written);
}

/// Whatever list another version left, it is only appended to.
fn clusters(bytes: &[u8]) {
    let proxy = Memory::default();
    assert!(proxy.shared_swap(records::CLUSTERS, bytes, None));
    let before = Clusters::decode(bytes).unwrap_or_default().names;
    let after = roster::enlist(&proxy, "c").expect("nobody else writes").names;
    assert!(after.starts_with(&before) && after.len() <= before.len() + 1);
    assert!(after.len() <= roster::MOST_CLUSTERS.max(before.len()));
    assert!(after.iter().any(|name| name == "c") || before.len() >= roster::MOST_CLUSTERS);
    assert_eq!(roster::enlist(&proxy, "c").expect("as before").names, after, "once");
}

/// A roster of any content: whatever is done to it, nobody is in it twice and it stays bounded.
fn strange_roster(bytes: &[u8]) {
    let Ok(strange) = Roster::decode(bytes) else { return };
    let slots = strange.entries.len();
    let bounded = |roster: &Roster, added: usize| {
        assert!(roster.entries.len() <= (slots + added).min(MOST_ENDPOINTS.max(slots)));
    };
    let mut learned = strange.clone();
    if roster::learn(&mut learned, Some("10.0.0.1:80"), &["10.0.0.2:80"]) {
        assert!(distinct(&live(&learned)) && live(&learned).contains(&"10.0.0.1:80"));
        assert!(!live(&learned).contains(&"10.0.0.2:80"));
        assert!(!roster::learn(&mut learned, Some("10.0.0.1:80"), &["10.0.0.2:80"]), "once");
    }
    bounded(&learned, 1);
    let mut merged = strange.clone();
    let names = ["10.0.0.1:80", "10.0.0.2:80"];
    let members = names.iter().map(|name| ((*name).to_owned(), 1, Standing::Eligible)).collect();
    let listing = Listing { members, ..Listing::empty(Source::Admin) };
    roster::merge(&mut merged, &listing);
    let mut lives = live(&merged);
    lives.sort_unstable();
    assert_eq!(lives, names, "exactly those told");
    assert!(!roster::merge(&mut merged, &listing), "nothing new");
    bounded(&merged, 2);
    let mut vacated = strange.clone();
    let all: Vec<u32> = (0..u32::try_from(slots).unwrap_or(u32::MAX)).chain([u32::MAX]).collect();
    roster::vacate(&mut vacated, &all);
    assert_eq!(live(&vacated), live(&strange), "only those gone lose their slots");
    assert!(!roster::vacate(&mut vacated, &all));
    bounded(&vacated, 0);
}
