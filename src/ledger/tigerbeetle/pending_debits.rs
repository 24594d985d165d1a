//! The debits of an account that still hold something. TigerBeetle does not say which pending transfers were voided, so the voids among
//! the transfers of the account tell.

use std::collections::HashMap;

use crate::ledger::{Movement, PendingDebit, Recorded, TransferId};
use crate::time::NS_PER_SECOND;

/// The pending debits among the transfers of one account that were read so far, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingDebits(HashMap<TransferId, PendingDebit>);

impl PendingDebits {
    /// Takes the transfers that follow.
    pub(super) fn read(&mut self, transfers: &[Recorded]) {
        for Recorded { transfer, timestamp_ns } in transfers {
            match transfer.movement {
                Movement::Pend { amount, timeout_seconds, .. } if amount > 0 => {
                    let timeout_ns = u64::from(timeout_seconds) * NS_PER_SECOND;
                    let expires_at_ns = match timeout_seconds {
                        0 => u64::MAX,
                        _ => timestamp_ns.saturating_add(timeout_ns),
                    };
                    self.0.insert(transfer.id, PendingDebit { units: amount, expires_at_ns });
                }
                Movement::Void { pending } => {
                    self.0.remove(&pending);
                }
                Movement::Pend { .. }
                | Movement::Post { .. }
                | Movement::PostUpTo { .. }
                | Movement::Close { .. } => {}
            }
        }
    }

    /// Those that were not voided. Some may have expired.
    pub(super) fn left(self) -> Vec<PendingDebit> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{AccountId, Transfer, TransferCode, UserData};

    fn recorded(id: u128, timestamp_ns: u64, movement: Movement) -> Recorded {
        let (id, code) = (TransferId::from_u128(id), TransferCode::ReserveRolling);
        Recorded { transfer: Transfer { id, code, user_data: UserData::default(), movement }, timestamp_ns }
    }

    fn pend(amount: u128, timeout_seconds: u32) -> Movement {
        let (debit, credit) = (AccountId::from_u128(1), AccountId::from_u128(2));
        Movement::Pend { debit, credit, amount, timeout_seconds }
    }

    #[test]
    fn what_was_voided_holds_nothing() {
        let mut debits = PendingDebits::default();
        debits.read(&[recorded(1, 10, pend(5, 60)), recorded(2, 11, pend(7, 1))]);
        debits.read(&[
            recorded(3, 12, Movement::Void { pending: TransferId::from_u128(1) }),
            recorded(4, 13, pend(0, 60)),
        ]);
        assert_eq!(debits.left(), [PendingDebit { units: 7, expires_at_ns: 1_000_000_011 }]);
    }
}
