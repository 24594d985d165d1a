//! The place that an instance takes among those that a template may make (`max_instances`).
//!
//! The template that made an instance counts it, also if the instance follows another template by now. A retired instance gave
//! its place back, as did one that an operator deleted.

use super::definition_codec::DefinitionVersion;
use crate::limit::{LimitKey, Status};

/// The template that counts the instance with this history, if one does. The history holds every version, oldest first.
pub(crate) fn counting_template(history: &[DefinitionVersion]) -> Option<&LimitKey> {
    let (mut is_new, mut template) = (true, None);
    for DefinitionVersion { state, .. } in history {
        template = match (state.status, &state.origin) {
            (Status::Retired, _) | (Status::Deleted, None) => None,
            (Status::Active | Status::Decreasing { .. } | Status::Deleted, Some(origin)) if is_new => {
                Some(&origin.template)
            }
            (Status::Active | Status::Decreasing { .. } | Status::Deleted, _) => template,
        };
        is_new = state.status == Status::Retired;
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Amount, Concurrency, Definition, Kind, LimitState, Origin, Overage};

    /// A version of the status, made by the template if there is one.
    fn history(versions: &[(Status, Option<&str>)]) -> Vec<DefinitionVersion> {
        let key = LimitKey::parse("ann:slots").expect("a key");
        let capacity = Amount::new(1).expect("an amount");
        let kind = Kind::Concurrency(Concurrency::new(60).expect("a timeout"));
        let definition = Definition::new(key, kind, capacity, "", "", Overage::Debt).expect("a definition");
        let version = |(number, (status, template)): (u64, &(Status, Option<&str>))| {
            let template = template.map(|name| LimitKey::parse_name(name).expect("a template"));
            let origin = template.map(|template| Box::new(Origin { template, version: 1 }));
            let state = LimitState { status: *status, origin, ..LimitState::active(definition.clone()) };
            DefinitionVersion {
                number,
                state,
                schedule_since_ns: None,
                first_window_ends_ms: None,
                timestamp_ns: number,
            }
        };
        (1..).zip(versions).map(version).collect()
    }

    #[test]
    fn the_template_that_made_an_instance_counts_it_until_it_is_retired_or_deleted() {
        let (active, deleted, retired) = (Status::Active, Status::Deleted, Status::Retired);
        let (first, second) = (Some("{a}:slots"), Some("{b}:slots"));
        for (versions, counted_at) in [
            (vec![], None),
            (vec![(active, None)], None),
            (vec![(active, first)], first),
            (vec![(active, first), (active, second)], first),
            (vec![(active, first), (deleted, first), (active, second)], first),
            (vec![(active, first), (active, None)], first),
            (vec![(active, first), (deleted, None)], None),
            (vec![(active, first), (deleted, None), (active, None)], None),
            (vec![(active, first), (retired, first)], None),
            (vec![(active, first), (retired, first), (active, second)], second),
            (vec![(active, first), (retired, first), (active, None)], None),
        ] {
            let history = history(&versions);
            assert_eq!(counting_template(&history).map(LimitKey::as_str), counted_at, "{versions:?}");
        }
    }
}
