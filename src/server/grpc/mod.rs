//! The rate limit services of Envoy and of Kuadrant, over gRPC: a gateway asks with descriptors, and rules map them to
//! limits.
//!
//! | file | what it is |
//! | --- | --- |
//! | `rules/` | from the entries of a descriptor to the key of a limit; pure |
//! | `followed_rules.rs` | the file of rules, read again when it changes |
//! | `plan.rs` | from the descriptors of a request to the requirements of a reserve; pure |
//! | `charge.rs` | reserves what a plan requires |
//! | `give_back.rs` | gives back what a plan names |
//! | `status.rs` | the statuses of an answer |
//! | `shared.rs` | what the rate limit services share |
//! | `envoy.rs` | `envoy.service.ratelimit.v3.RateLimitService` |
//! | `kuadrant.rs` | `kuadrant.service.ratelimit.v1.RateLimitService` |
//! | `health.rs` | `grpc.health.v1.Health` |
//! | `guard.rs` | who may call |
//! | `refuse.rs` | errors as gRPC statuses |
//! | `listen.rs` | the router of all services |
//! | `counts.rs` | descriptors by what became of them |
//! | [`proto`] | the messages and services |

mod charge;
mod counts;
mod envoy;
mod followed_rules;
mod give_back;
mod guard;
mod health;
mod kuadrant;
mod listen;
mod plan;
pub mod proto;
mod refuse;
mod rules;
mod shared;
mod status;

pub use followed_rules::{FollowedRules, RulesError};
pub use listen::Gateway;
#[cfg(test)]
pub(crate) use {
    plan::{Item, Plan},
    rules::Rules,
};
