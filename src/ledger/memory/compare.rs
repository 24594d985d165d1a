use crate::ledger::{Field, Movement, Refusal, Transfer, UserData};

/// A void takes over what it does not say itself.
pub(super) fn inherited(own: UserData, held: UserData) -> UserData {
    UserData {
        wide: if own.wide == 0 { held.wide } else { own.wide },
        long: if own.long == 0 { held.long } else { own.long },
        short: if own.short == 0 { held.short } else { own.short },
    }
}

/// In what a transfer differs from the one that bears its id, in the ledger's order of looking.
pub(super) fn compare(new: &Transfer, linked: bool, old: &Transfer, linked_before: bool) -> Refusal {
    let by_link = (linked != linked_before).then_some(Field::Flags);
    let behind = [
        (new.user_data.wide != old.user_data.wide, Field::UserDataWide),
        (new.user_data.long != old.user_data.long, Field::UserDataLong),
        (new.user_data.short != old.user_data.short, Field::UserDataShort),
        (new.code != old.code, Field::Code),
    ];
    let by_user_data = || behind.into_iter().find(|(differs, _)| *differs).map(|(_, field)| field);
    by_link
        .or_else(|| movement_difference(&new.movement, &old.movement))
        .or_else(by_user_data)
        .map_or(Refusal::Exists, Refusal::ExistsWithDifferent)
}

/// The first field in which two movements differ.
fn movement_difference(new: &Movement, old: &Movement) -> Option<Field> {
    let parts = |movement: &Movement| match *movement {
        Movement::Post { debit, credit, amount } => (0, None, 0, Some(debit), Some(credit), amount),
        Movement::Pend { debit, credit, amount, timeout_seconds } => {
            (1, None, timeout_seconds, Some(debit), Some(credit), amount)
        }
        Movement::Close { debit, credit } => (2, None, 0, Some(debit), Some(credit), 0),
        Movement::Void { pending } => (3, Some(pending), 0, None, None, 0),
        Movement::PostUpTo { debit, credit, amount, bound } => {
            (4 + bound as u8, None, 0, Some(debit), Some(credit), amount)
        }
    };
    let is_balancing = matches!(new, Movement::PostUpTo { .. });
    let (new, old) = (parts(new), parts(old));
    // What was moved may be less than what might have been.
    let amount_differs = if is_balancing { new.5 < old.5 } else { new.5 != old.5 };
    [
        (new.0 != old.0, Field::Flags),
        (new.1 != old.1, Field::PendingId),
        (new.2 != old.2, Field::Timeout),
        (new.3 != old.3, Field::DebitAccount),
        (new.4 != old.4, Field::CreditAccount),
        (amount_differs, Field::Amount),
    ]
    .into_iter()
    .find(|(differs, _)| *differs)
    .map(|(_, field)| field)
}
