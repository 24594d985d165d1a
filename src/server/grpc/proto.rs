//! The messages and services, which the build makes from `proto/`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants,
    clippy::needless_pass_by_value,
    unused_qualifications,
    unreachable_pub,
    reason = "the code is generated"
)]

include!(concat!(env!("OUT_DIR"), "/grpc.rs"));

/// The files of `proto/` as reflection shows them: an encoded `FileDescriptorSet`.
pub const FILES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/grpc.bin"));
