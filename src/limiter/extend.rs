use super::{Limiter, LimiterError, ReserveOutcome};
use crate::decide::command::Extend;
use crate::decide::ids::TOP_UPS_MAX;
use crate::decide::reserve;
use crate::decide::top_up::{self, Standing, Verdict};
use crate::ledger::{ChainOutcome, Ledger, LedgerError};

/// How often a lease is looked at anew: each time another top-up came first, and there are not many.
const ROUNDS_MAX: usize = 2 * TOP_UPS_MAX;

/// The answer to a wish for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtendOutcome {
    /// Granted or denied, as a reserve is. A lease that is over, or not known, is settled; an attempt's id that was used
    /// for another wish is a conflict.
    Answered(ReserveOutcome),
    /// The lease holds nothing of the limit.
    NotInLease,
    /// The lease was extended as often as it can be.
    TooMany,
}

impl ExtendOutcome {
    /// Granted or denied, or what is wrong with the command.
    pub fn answered(self) -> Result<ReserveOutcome, String> {
        match self {
            Self::Answered(outcome) => Ok(outcome),
            Self::NotInLease => Err("key is not in the lease".to_owned()),
            Self::TooMany => {
                Err(format!("lease_id names a lease that was extended {TOP_UPS_MAX} times already"))
            }
        }
    }
}

impl<L: Ledger> Limiter<L> {
    /// Reserves more of a limit for a lease that is running.
    pub async fn extend(&self, command: &Extend) -> Result<ExtendOutcome, LimiterError> {
        let wish = command.as_reserve();
        let mut planned = self.planned_ready(&wish).await?;
        for _ in 0..ROUNDS_MAX {
            let (lease, family) = (command.lease, self.ids.of_lease(command.lease).family());
            let transfers = self.ledger.lease_transfers(lease, family).await?;
            let limit = planned.limits().first().copied().flatten();
            // What has come back by a schedule did so by the time of the plan.
            let now_ns = if planned.now_ns > 0 { planned.now_ns } else { self.ledger.now_ns() };
            let (chain, over_at_ns) = match top_up::standing(self.ids, command, limit, &transfers, now_ns) {
                Standing::Running { chain, over_at_ns } => (chain, over_at_ns),
                Standing::Granted { reserved_at_unix_ms } => return Ok(granted(reserved_at_unix_ms)),
                Standing::Conflict => return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseConflict)),
                Standing::Over => return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled)),
                Standing::NotInLease => return Ok(ExtendOutcome::NotInLease),
                Standing::TooMany => return Ok(ExtendOutcome::TooMany),
                Standing::Unlucky => {
                    let key = command.requirement.key.clone();
                    return Ok(ExtendOutcome::Answered(ReserveOutcome::NoRoom { key, retry_after_ms: 1 }));
                }
            };
            let outcome = self.ledger.submit_one(chain).await?;
            if self.doubts(&planned, outcome) {
                self.refresh().await?;
                planned = self.planned_ready(&wish).await?;
            }
            match top_up::interpret(&wish, &planned.limits(), over_at_ns, outcome)? {
                Verdict::Granted { reserved_at_unix_ms } => {
                    // What is remembered of the lease here is not all of it any more.
                    self.leases.take(lease);
                    return Ok(granted(reserved_at_unix_ms));
                }
                Verdict::Over => return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled)),
                Verdict::Denied { denial, repeated } => {
                    return Ok(ExtendOutcome::Answered(self.deny(&planned, denial, repeated)));
                }
                Verdict::Recall => {}
            }
        }
        Err(LedgerError::Unexpected(format!("lease {} cannot be extended", command.lease)).into())
    }

    fn doubts(&self, planned: &super::planned::Planned<'_>, outcome: ChainOutcome) -> bool {
        top_up::of_reservation(outcome)
            .is_some_and(|outcome| reserve::doubts_definitions(planned.command, &planned.limits(), outcome))
    }
}

fn granted(reserved_at_unix_ms: u64) -> ExtendOutcome {
    ExtendOutcome::Answered(ReserveOutcome::Granted { reserved_at_unix_ms })
}
