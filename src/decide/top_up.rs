//! Extending: a lease that is running and a wish for more become one linked chain of two transfers, the trace of the
//! top-up and the reservation that it is.
//!
//! The trace takes the id that the guard of a complete would have. So of a top-up and a complete that race, at whatever
//! replicas, one is first and the other is refused and looks at the lease again: a complete finds more to settle, a
//! top-up finds the lease settled. Top-ups of one lease that race are told apart in the same way.
//!
//! The reservation's id follows from the attempt's own id: repeated, it meets itself, and a denial uses the id up.

use super::Limit;
use super::command::{Extend, Reserve};
use super::ids::{Ids, Purpose, TOP_UPS_MAX};
use super::lease::Lease;
use super::reserve::{self, Denial};
use crate::clock::unix_ms;
use crate::ledger::{
    Chain, ChainOutcome, LedgerError, Movement, Recorded, Refusal, Transfer, TransferCode, UserData,
};

/// How a lease stands for one that wants more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs: send this.
    Running {
        /// The chain.
        chain: Chain,
        /// When the lease is over, if it is not topped up.
        over_at_ns: u64,
    },
    /// This attempt was granted before.
    Granted {
        /// When, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// The attempt's id was used for another wish.
    Conflict,
    /// The attempt's id is that of another one by chance; the next will have another.
    Unlucky,
    /// The lease is completed, has expired, or is not known.
    Over,
    /// It holds nothing of the limit.
    NotInLease,
    /// It was topped up as often as it can be.
    TooMany,
}

/// What the outcome of the chain means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The lease holds it too.
    Granted {
        /// Since when, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// It came too late: it belongs to nothing, and expires.
    Over,
    /// It holds what it held.
    Denied {
        /// Why.
        denial: Denial,
        /// Whether this attempt was denied before.
        repeated: bool,
    },
    /// The lease has changed meanwhile: look at it once more.
    Recall,
}

/// Looks at a lease's transfers. `limit` is the one that more is wanted of.
pub fn standing(
    ids: Ids,
    command: &Extend,
    limit: Option<&Limit>,
    transfers: &[Recorded],
    now_ns: u64,
) -> Standing {
    let lease_ids = ids.of_lease(command.lease);
    let (id, tag) = lease_ids.top_up(command.extension);
    let account = limit.map_or_else(|| ids.limit(&command.requirement.key), |limit| limit.account);
    let lease = Lease::from_transfers(command.lease, transfers);
    let Some(lease) = lease.filter(|lease| !lease.settled && !lease.is_expired(now_ns)) else {
        return Standing::Over;
    };
    if let Some(earlier) = transfers.iter().find(|recorded| recorded.transfer.id == id) {
        return match earlier.transfer {
            Transfer { movement, user_data, .. } if user_data != marked(user_data, movement, tag) => {
                Standing::Unlucky
            }
            Transfer {
                movement: Movement::Pend { debit, amount, .. } | Movement::Post { debit, amount, .. },
                ..
            } if debit == account && amount == u128::from(command.requirement.amount) => {
                Standing::Granted { reserved_at_unix_ms: unix_ms(earlier.timestamp_ns) }
            }
            Transfer { .. } => Standing::Conflict,
        };
    }
    if !lease.legs.iter().any(|leg| leg.account == account) {
        return Standing::NotInLease;
    }
    if lease.top_ups >= TOP_UPS_MAX {
        return Standing::TooMany;
    }
    let reserve::Leg { code, movement, over_at_ms } =
        reserve::leg_of(ids, &command.requirement, limit, now_ns);
    let user_data = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    let trace = Transfer {
        id: lease_ids.transfer(Purpose::Guard, 0, lease.top_ups),
        code: TransferCode::TopUp,
        user_data,
        movement: Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 },
    };
    let user_data = marked(UserData { long: over_at_ms, ..user_data }, movement, tag);
    let reservation = Transfer { id, code, user_data, movement };
    let over_at_ns = lease.legs.iter().map(|leg| leg.expires_at_ns).max().unwrap_or(0);
    // Never of nothing: it has two transfers.
    Chain::new([trace, reservation]).map_or(Standing::Over, |chain| Standing::Running { chain, over_at_ns })
}

/// With the mark that tells its attempt from another one of the same id. What is spent says in the first place when it
/// has come back.
fn marked(user_data: UserData, movement: Movement, tag: u64) -> UserData {
    match movement {
        Movement::Post { .. } => UserData { short: tag as u32, ..user_data },
        Movement::Pend { .. }
        | Movement::PostUpTo { .. }
        | Movement::Close { .. }
        | Movement::Void { .. } => UserData { long: tag, ..user_data },
    }
}

/// The outcome of the chain's second transfer, as if it were sent by itself. `None` if the first was refused.
pub fn of_reservation(outcome: ChainOutcome) -> Option<ChainOutcome> {
    match outcome {
        ChainOutcome::Created { .. } => Some(outcome),
        ChainOutcome::Refused { index, refusal } => {
            index.checked_sub(1).map(|index| ChainOutcome::Refused { index, refusal })
        }
    }
}

/// What the outcome of the chain means. `wish` is [`Extend::as_reserve`].
pub fn interpret(
    wish: &Reserve,
    limits: &[Option<&Limit>],
    over_at_ns: u64,
    outcome: ChainOutcome,
) -> Result<Verdict, LedgerError> {
    if let ChainOutcome::Created { timestamp_ns } = outcome
        && over_at_ns <= timestamp_ns
    {
        return Ok(Verdict::Over);
    }
    match (of_reservation(outcome), outcome) {
        (Some(of_reservation), _) => Ok(match reserve::interpret(wish, limits, of_reservation)? {
            reserve::Verdict::Granted { reserved_at_unix_ms } => Verdict::Granted { reserved_at_unix_ms },
            reserve::Verdict::Denied { denial, repeated } => Verdict::Denied { denial, repeated },
            reserve::Verdict::Recall => Verdict::Recall,
        }),
        (None, ChainOutcome::Refused { refusal: Refusal::Exists | Refusal::ExistsWithDifferent(_), .. }) => {
            Ok(Verdict::Recall)
        }
        (None, _) => {
            Err(LedgerError::Unexpected(format!("the trace of a top-up of {}: {outcome:?}", wish.lease)))
        }
    }
}
