//! Health and reflection.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_stopping_service_is_not_serving() {
    let service = Service::new().await;
    let mut client = HealthClient::with_origin(service.transport(), origin());
    let names =
        ["", "envoy.service.ratelimit.v3.RateLimitService", "kuadrant.service.ratelimit.v1.RateLimitService"];
    for name in names {
        let answer = client.check(of(name)).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name:?}");
    }
    assert_eq!(client.check(of("other")).await.expect_err("no such service").code(), Code::NotFound);
    let mut watched = client.watch(of("")).await.expect("a stream").into_inner();
    let first = watched.next().await.expect("a status").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    service.api.readiness.set_stopping();
    let next = watched.next().await.expect("a status").expect("a status");
    assert_eq!(next.status(), ServingStatus::NotServing);
    let answer = client.check(of("")).await.expect("an answer").into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_names_the_services() {
    let service = Service::new().await;
    let mut client = ServerReflectionClient::with_origin(service.transport(), origin());
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.expect("a stream");
    let answer = answers.into_inner().next().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list: {answer:?}");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "envoy.service.ratelimit.v3.RateLimitService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "kuadrant.service.ratelimit.v1.RateLimitService",
    ];
    assert_eq!(names, expected);
}
