//! Kuadrant's `Reserve` and `Commit`.

use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use ledger_limiter::server::grpc::proto::kuadrant::service::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient as KuadrantClient;
use ledger_limiter::server::grpc::proto::kuadrant::service::ratelimit::v1::{
    CommitRequest, ReserveRequest, ReserveResponse,
};
use tonic::Code as GrpcCode;

use super::*;

impl Service {
    fn kuadrant(&self) -> KuadrantClient<Transport> {
        KuadrantClient::with_origin(self.transport(), origin())
    }

    async fn reserve(
        &self,
        descriptors: &[RateLimitDescriptor],
        amount: u64,
    ) -> Result<ReserveResponse, Status> {
        let domain = "edge".to_owned();
        let request = ReserveRequest { domain, descriptors: descriptors.to_vec(), amount, ttl: None };
        self.kuadrant().reserve(request).await.map(tonic::Response::into_inner)
    }

    /// Whether the commit settled the reservation.
    async fn commit(
        &self,
        descriptors: &[RateLimitDescriptor],
        reservation_id: &str,
        actual_amount: u64,
    ) -> Result<bool, Status> {
        let request = CommitRequest {
            domain: "edge".to_owned(),
            descriptors: descriptors.to_vec(),
            reservation_id: reservation_id.to_owned(),
            actual_amount,
        };
        self.kuadrant().commit(request).await.map(|answer| answer.into_inner().reservation_released)
    }

    async fn reserved(&self, key: &str) -> Usage {
        self.replica.usage(key).await
    }
}

#[tokio::test]
async fn a_commit_settles_its_reservation_once() {
    let service = Service::new().await;
    let model = [descriptor("model", "gpt")];
    let reserved = service.reserve(&model, 6).await.expect("an answer");
    assert_eq!(reserved.code(), Code::Ok);
    assert_eq!(service.reserved("model:gpt:tpm").await, Usage { available: 40, reserved: 60, debt: 0 });
    let denied = service.reserve(&model, 5).await.expect("an answer");
    assert_eq!((denied.code(), denied.reservation_id), (Code::OverLimit, String::new()));
    for released in [true, false] {
        let commit = service.commit(&model, &reserved.reservation_id, 4).await;
        assert_eq!(commit.expect("an answer"), released);
        assert_eq!(service.reserved("model:gpt:tpm").await, Usage { available: 60, reserved: 40, debt: 0 });
    }
}

#[tokio::test]
async fn more_than_was_reserved_becomes_debt_where_there_is_no_room() {
    let service = Service::new().await;
    let model = [descriptor("model", "gpt")];
    let reserved = service.reserve(&model, 1).await.expect("an answer");
    assert!(service.commit(&model, &reserved.reservation_id, 12).await.expect("an answer"));
    assert_eq!(service.reserved("model:gpt:tpm").await, Usage { available: 0, reserved: 100, debt: 20 });
}

#[tokio::test]
async fn a_limit_that_does_not_enforce_is_left_out_of_a_reservation_that_it_would_deny() {
    let service = Service::new().await;
    let both = [descriptor("shadow", "x"), descriptor("model", "gpt")];
    let reserved = service.reserve(&both, 2).await.expect("an answer");
    assert_eq!(reserved.code(), Code::Ok);
    assert!(service.commit(&both, &reserved.reservation_id, 1).await.expect("an answer"));
    assert_eq!(service.reserved("model:gpt:tpm").await.reserved, 10);
    assert_eq!(service.reserved("shadow").await.reserved, 0);
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let service = Service::new().await;
    let model = [descriptor("model", "gpt")];
    let error = |status: Status| (status.code(), status.message().to_owned());
    let zero = service.reserve(&model, 0).await.expect_err("it is refused");
    assert_eq!(error(zero), (GrpcCode::InvalidArgument, "amount must be at least 1".to_owned()));
    let no_id = service.commit(&model, "x", 1).await.expect_err("it is refused");
    assert_eq!(no_id.code(), GrpcCode::InvalidArgument, "{no_id}");
    assert!(no_id.message().starts_with("reservation_id "), "{no_id}");
    let unknown = service.commit(&model, &lease().to_string(), 1).await.expect("an answer");
    assert!(!unknown, "there is no such reservation");
}

#[tokio::test]
async fn a_check_charges_nothing_and_a_report_is_never_denied() {
    let service = Service::new().await;
    let model = [descriptor("model", "gpt")];
    let request = |hits_addend| RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: model.to_vec(),
        hits_addend,
    };
    let check = async |hits| {
        let answer = service.kuadrant().check_rate_limit(request(hits)).await.expect("an answer");
        answer.into_inner().overall_code()
    };
    let report = async |hits| {
        let answer = service.kuadrant().report(request(hits)).await.expect("an answer");
        answer.into_inner().overall_code()
    };
    assert_eq!((check(10).await, check(10).await, check(11).await), (Code::Ok, Code::Ok, Code::OverLimit));
    assert_eq!(report(7).await, Code::Ok);
    assert_eq!(service.reserved("model:gpt:tpm").await, Usage { available: 30, reserved: 70, debt: 0 });
    assert_eq!((check(3).await, check(4).await), (Code::Ok, Code::OverLimit));
    assert_eq!(report(7).await, Code::Ok, "whatever is free");
    assert_eq!(service.reserved("model:gpt:tpm").await, Usage { available: 0, reserved: 100, debt: 40 });
}

#[tokio::test]
async fn a_reservation_without_a_rule_reserves_nothing() {
    let service = Service::new().await;
    let none = [descriptor("none", "x")];
    let reserved = service.reserve(&none, 5).await.expect("an answer");
    assert_eq!(reserved.code(), Code::Ok);
    assert!(!service.commit(&none, &reserved.reservation_id, 5).await.expect("an answer"));
}
