//! Settling several leases in one chain.
//!
//! Once a lease is settled, what stays taken of a rolling limit needs no lease of its own: it only has to come back in
//! time. So the amounts of several leases that end in the same second on the same limit are reserved anew by one pending
//! transfer, behind the voids of all of them. Four-limit calls that settle together below their estimates cost three
//! transfers each and two for all of them, instead of five each.
//!
//! The chain is whole or not at all: if the ledger refuses it, because one of the leases was settled meanwhile, say,
//! nothing has happened, and each is settled by itself.

use smallvec::SmallVec;

use super::ids::Ids;
use super::settle::Settlement;
use crate::ledger::{AccountId, Chain, Movement, Transfer, TransferCode, UserData};

/// The longest chain that is made, well below what the smallest ledger takes in one request.
const TRANSFERS_MAX: usize = 128;

/// What a settlement does in a chain that it shares.
#[derive(Debug)]
pub struct Part {
    /// Its guard and its voids.
    pub transfers: SmallVec<[Transfer; 4]>,
    /// What stays taken.
    pub remainders: SmallVec<[Remainder; 4]>,
}

/// What stays taken of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remainder {
    /// The limit's account.
    pub account: AccountId,
    /// How much.
    pub amount: u128,
    /// For how long.
    pub timeout_seconds: u32,
}

/// A chain that settles several leases.
#[derive(Debug)]
pub struct Shared {
    /// Where they stand among the settlements.
    pub places: Vec<usize>,
    /// The chain.
    pub chain: Chain,
}

#[derive(Default)]
struct Group {
    places: Vec<usize>,
    transfers: Vec<Transfer>,
    remainders: Vec<Remainder>,
}

/// Chains for as many of the settlements as can share one. `now_ns` is the ledger's time; `drawn` is a fresh ULID for the
/// ids of what they share: it may be refused for a passing reason, which uses an id up, and the guards keep it from
/// acting twice.
pub fn share<'a>(
    ids: Ids,
    settlements: impl Iterator<Item = &'a Settlement>,
    now_ns: u64,
    drawn: u128,
) -> Vec<Shared> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    for (place, settlement) in settlements.enumerate() {
        let Some(part) = settlement.part(now_ns) else { continue };
        if group.transfers_with(&part) > TRANSFERS_MAX {
            groups.push(std::mem::take(&mut group));
        }
        group.add(place, part);
    }
    groups.push(group);
    let mut number = 0..=u8::MAX;
    // One alone has nothing to share.
    let shared = groups.into_iter().filter(|group| group.places.len() > 1);
    shared.filter_map(|group| group.into_shared(ids, drawn, &mut number)).collect()
}

impl Group {
    /// How many transfers it would have with one more.
    fn transfers_with(&self, part: &Part) -> usize {
        let new = part.remainders.iter().filter(|remainder| self.same(remainder).is_none()).count();
        self.transfers.len() + part.transfers.len() + self.remainders.len() + new
    }

    fn same(&self, remainder: &Remainder) -> Option<usize> {
        let ends_with = |other: &Remainder| {
            (other.account, other.timeout_seconds) == (remainder.account, remainder.timeout_seconds)
        };
        self.remainders.iter().position(ends_with)
    }

    fn add(&mut self, place: usize, part: Part) {
        self.places.push(place);
        self.transfers.extend(part.transfers);
        for remainder in part.remainders {
            match self.same(&remainder).and_then(|same| self.remainders.get_mut(same)) {
                Some(same) => same.amount = same.amount.saturating_add(remainder.amount),
                None => self.remainders.push(remainder),
            }
        }
    }

    /// `None` when there are no numbers left for the ids of what is shared.
    fn into_shared(
        mut self,
        ids: Ids,
        drawn: u128,
        numbers: &mut impl Iterator<Item = u8>,
    ) -> Option<Shared> {
        for remainder in self.remainders {
            let Remainder { account, amount, timeout_seconds } = remainder;
            let movement = Movement::Pend { debit: account, credit: ids.operator(), amount, timeout_seconds };
            let id = ids.around(drawn, numbers.next()?);
            self.transfers.push(Transfer {
                id,
                code: TransferCode::Shrink,
                user_data: UserData::default(),
                movement,
            });
        }
        Chain::from_vec(self.transfers).map(|chain| Shared { places: self.places, chain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::lease::{Hold, Lease, Leg};
    use crate::decide::settle::Used;
    use crate::ledger::TransferId;
    use crate::limit::{LeaseId, Overage};

    const NOW_NS: u64 = 1_000_000_000_000;

    fn account(number: u128) -> AccountId {
        AccountId::from_u128(number)
    }

    /// A lease of a slot (account 1), tokens (2) and a request (3), reserved so many milliseconds ago.
    fn settlement(number: u128, age_ms: u64, tokens: u64) -> Settlement {
        let leg = |leg: u128, hold, amount| Leg {
            transfer: TransferId::from_u128(number << 16 | leg),
            account: account(leg),
            amount,
            hold,
            expires_at_ns: NOW_NS + 60_000_000_000 - age_ms * 1_000_000,
            reserved_at_ns: NOW_NS - age_ms * 1_000_000,
        };
        let rolling = Hold::Rolling(Overage::Debt);
        let legs = vec![leg(1, Hold::Concurrency, 1), leg(2, rolling, 1_000), leg(3, rolling, 1)];
        let id = LeaseId::from_ulid(ulid::Ulid(number)).expect("not zero");
        let used = [Used { account: account(2), amount: tokens, debt_account: account(9), borrowed: None }];
        Settlement::new(Ids::new(1), Lease { id, legs, top_ups: 0, settled: false }, &used, NOW_NS)
            .expect("its keys")
    }

    fn share_all(settlements: &[Settlement]) -> Vec<Shared> {
        share(Ids::new(1), settlements.iter(), NOW_NS, 7 << 80)
    }

    #[test]
    fn what_ends_in_the_same_second_is_one_transfer() {
        let settlements: Vec<_> = (1..=10).map(|n| settlement(n, n as u64, 100 + n as u64)).collect();
        let shared = share_all(&settlements);
        assert_eq!(shared.len(), 1);
        let transfers = shared[0].chain.transfers();
        assert_eq!(transfers.len(), 10 * 2 + 1, "a guard and a void each, and one for what stays");
        let amount = (1..=10).map(|n| 100 + n).sum();
        let stays =
            Movement::Pend { debit: account(2), credit: Ids::new(1).operator(), amount, timeout_seconds: 60 };
        assert_eq!(transfers[20].movement, stays);
    }

    #[test]
    fn what_ends_in_other_seconds_is_another() {
        let settlements: Vec<_> = (0..4).map(|n| settlement(n + 1, 700 * n as u64, 10)).collect();
        let shared = share_all(&settlements);
        assert_eq!(shared[0].chain.transfers().len(), 4 * 2 + 3, "60, 60, 59 and 58 seconds are left");
    }

    #[test]
    fn what_has_nothing_to_share_goes_by_itself() {
        let settlements =
            [settlement(1, 0, 1_000), settlement(2, 0, 0), settlement(3, 0, 5_000), settlement(4, 0, 1)];
        assert!(
            share_all(&settlements).is_empty(),
            "only the last keeps a part, and one alone shares nothing"
        );
    }

    #[test]
    fn chains_stay_short() {
        let settlements: Vec<_> = (1..=200).map(|n| settlement(n, 0, 10)).collect();
        let shared = share_all(&settlements);
        assert!(shared.iter().all(|shared| shared.chain.transfers().len() <= TRANSFERS_MAX));
        let mut places: Vec<usize> = shared.into_iter().flat_map(|shared| shared.places).collect();
        places.sort_unstable();
        assert_eq!(places, (0..200).collect::<Vec<_>>());
    }
}
