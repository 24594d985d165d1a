//! Announcements: how replicas tell each other, in the ledger, that they live and under which URL they answer.
//!
//! | transfer | debit -> credit | amount | timeout | user data | id |
//! | --- | --- | --- | --- | --- | --- |
//! | posted, 32 `AnnounceUrl`, one for 12 bytes of the URL, in one chain | replicas -> operator | 0 | | the process; 8 bytes; 4 bytes | of the process, purpose 14, the part |
//! | pending, 31 `Announce`, again and again | replicas -> operator | 0 | [`LIFE_SECONDS`] | the process; the version | of a fresh ULID, purpose 13, leg 0 |
//! | void of the last one, at a stop | | | | as of the last one | of the same ULID, leg 1 |
//!
//! A process is named like a lease, by a ULID: so the look-up of a lease's transfers finds its URL.

use super::ids::{Ids, Purpose};
use crate::ledger::{AccountQuery, Chain, Movement, Order, Recorded, Side, Transfer, TransferCode, UserData};
use crate::limit::{LeaseId, ReplicaUrl};
use crate::time::NS_PER_SECOND;

/// How long an announcement says that its replica lives, in seconds.
pub(crate) const LIFE_SECONDS: u32 = 15;
/// The bytes of a URL in one transfer.
const PART_BYTES: usize = 12;
/// The most announcements that are read at once; a ledger's answer holds no more than 8,189.
const ANNOUNCEMENTS_MAX: u32 = 8_000;

/// An announcement that is not voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// The process that lives.
    pub(crate) process: LeaseId,
    /// Its version, as [`pack_version`] writes it.
    pub(crate) version: u64,
    /// When the ledger recorded it, in nanoseconds.
    pub(crate) announced_at_ns: u64,
    /// Until when the replica counts as living, in the ledger's nanoseconds.
    pub(crate) expires_at_ns: u64,
}

/// The chain that stores the URL of a process; never `None`, because no URL is empty.
pub(crate) fn store_url(ids: Ids, process: LeaseId, url: &ReplicaUrl) -> Option<Chain> {
    let part = |(index, bytes): (usize, &[u8])| {
        let (mut long, mut short) = ([0; 8], [0; 4]);
        long.iter_mut().chain(&mut short).zip(bytes).for_each(|(to, from)| *to = *from);
        Transfer {
            id: ids.of_lease(process).transfer(Purpose::AnnounceUrl, 0, index),
            code: TransferCode::AnnounceUrl,
            user_data: UserData {
                wide: process.as_u128(),
                long: u64::from_le_bytes(long),
                short: u32::from_le_bytes(short),
            },
            movement: Movement::Post { debit: ids.replicas(), credit: ids.operator(), amount: 0 },
        }
    };
    Chain::new(url.as_str().as_bytes().chunks(PART_BYTES).enumerate().map(part))
}

/// The URL of a process, and when it was stored, by the transfers that carry the process. `None` if it has none that this
/// version reads.
pub(crate) fn read_url(transfers: &[Recorded]) -> Option<(ReplicaUrl, u64)> {
    let is_part = |recorded: &&Recorded| recorded.transfer.code == TransferCode::AnnounceUrl;
    let mut parts: Vec<&Recorded> = transfers.iter().filter(is_part).collect();
    parts.sort_unstable_by_key(|recorded| recorded.timestamp_ns);
    let bytes_of = |recorded: &&Recorded| {
        let UserData { long, short, .. } = recorded.transfer.user_data;
        long.to_le_bytes().into_iter().chain(short.to_le_bytes())
    };
    // The last part is filled up with zeros, which no URL holds.
    let bytes: Vec<u8> = parts.iter().flat_map(bytes_of).filter(|byte| *byte != 0).collect();
    let url = String::from_utf8(bytes).ok()?.parse().ok()?;
    Some((url, parts.first()?.timestamp_ns))
}

/// The chain that announces a process. `name` is fresh; the same chain may be sent again.
pub(crate) fn announce(ids: Ids, process: LeaseId, name: LeaseId, version: u64) -> Option<Chain> {
    Chain::new([Transfer {
        id: ids.of_lease(name).transfer(Purpose::Announce, 0, 0),
        code: TransferCode::Announce,
        user_data: UserData { wide: process.as_u128(), long: version, short: 0 },
        movement: Movement::Pend {
            debit: ids.replicas(),
            credit: ids.operator(),
            amount: 0,
            timeout_seconds: LIFE_SECONDS,
        },
    }])
}

/// The chain that withdraws the announcement of this name. The ledger refuses it if that has expired.
pub(crate) fn withdraw(ids: Ids, name: LeaseId) -> Option<Chain> {
    let of_name = ids.of_lease(name);
    Chain::new([Transfer {
        id: of_name.transfer(Purpose::Announce, 0, 1),
        code: TransferCode::Announce,
        user_data: UserData::default(),
        movement: Movement::Void { pending: of_name.transfer(Purpose::Announce, 0, 0) },
    }])
}

/// The query for the announcements that may count at this time of the ledger.
pub(crate) fn query(ids: Ids, now_ns: u64) -> AccountQuery {
    AccountQuery {
        account: ids.replicas(),
        side: Side::Debit,
        code: TransferCode::Announce,
        after_ns: now_ns.saturating_sub(u64::from(LIFE_SECONDS) * NS_PER_SECOND),
        order: Order::NewestFirst,
        count_max: ANNOUNCEMENTS_MAX,
    }
}

/// The newest announcement of each process, of those that [`query`] found, without processes that withdrew theirs.
pub(crate) fn newest(newest_first: &[Recorded]) -> Vec<Announcement> {
    let mut seen: Vec<u128> = Vec::new();
    let mut found = Vec::new();
    for Recorded { transfer, timestamp_ns } in newest_first {
        let UserData { wide, long, .. } = transfer.user_data;
        if seen.contains(&wide) {
            continue;
        }
        seen.push(wide);
        let Movement::Pend { timeout_seconds, .. } = transfer.movement else { continue };
        let Ok(process) = LeaseId::from_ulid(ulid::Ulid(wide)) else { continue };
        found.push(Announcement {
            process,
            version: long,
            announced_at_ns: *timestamp_ns,
            expires_at_ns: timestamp_ns + u64::from(timeout_seconds) * NS_PER_SECOND,
        });
    }
    found
}

/// Writes `major.minor.patch` as a number; 0 for another text.
pub(crate) fn pack_version(text: &str) -> u64 {
    let mut parts = text.split('.').map(|part| part.parse::<u16>().ok());
    let mut next = || parts.next().flatten().map(u64::from);
    match (next(), next(), next()) {
        (Some(major), Some(minor), Some(patch)) => major << 32 | minor << 16 | patch,
        _ => 0,
    }
}

/// Reads what [`pack_version`] wrote.
pub(crate) fn version_text(packed: u64) -> String {
    let part = |shift: u32| packed >> shift & 0xffff;
    format!("{}.{}.{}", part(32), part(16), part(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(number: u128) -> LeaseId {
        LeaseId::from_ulid(ulid::Ulid(number)).expect("not zero")
    }

    fn recorded(chain: &Chain, first_at_ns: u64) -> Vec<Recorded> {
        let at = |(index, transfer): (usize, &Transfer)| Recorded {
            transfer: *transfer,
            timestamp_ns: first_at_ns + index as u64,
        };
        chain.transfers().iter().enumerate().map(at).collect()
    }

    #[test]
    fn a_url_of_any_length_is_read_as_it_was_stored() {
        let longest = format!("http://{}", "a".repeat(248));
        for text in ["http://a", "http://10.0.0.1:80", "https://[2001:db8::1]:65535", &longest] {
            let url: ReplicaUrl = text.parse().expect("a URL");
            let chain = store_url(Ids::new(1), process(7), &url).expect("a chain");
            let mut stored = recorded(&chain, 5);
            stored.reverse();
            assert_eq!(read_url(&stored), Some((url, 5)), "{text}");
        }
        assert_eq!(read_url(&[]), None);
    }

    #[test]
    fn the_newest_announcement_of_each_process_counts() {
        let ids = Ids::new(1);
        let announced = |of: u128, name: u128, at_ns| {
            recorded(&announce(ids, process(of), process(name), 3).expect("a chain"), at_ns)
        };
        // As a void is read back: with the user data of what it voids.
        let mut withdrawn = recorded(&withdraw(ids, process(11)).expect("a chain"), 40);
        withdrawn[0].transfer.user_data.wide = 1;
        let newest_first =
            [withdrawn, announced(2, 12, 30), announced(1, 11, 20), announced(2, 13, 10)].concat();
        let expires_at_ns = 30 + 15 * NS_PER_SECOND;
        let expected = Announcement { process: process(2), version: 3, announced_at_ns: 30, expires_at_ns };
        assert_eq!(newest(&newest_first), [expected]);
    }

    #[test]
    fn a_version_is_read_as_it_was_written() {
        assert_eq!(version_text(pack_version("0.1.0")), "0.1.0");
        assert_eq!(version_text(pack_version("12.0.65535")), "12.0.65535");
        assert_eq!(pack_version("1.2"), 0);
    }
}
