//! The two lines of the documentation, served.

use std::net::SocketAddr;

use ledger_limiter::client::Rate;
use ledger_limiter::client::tower::RateLimitLayer;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

use super::world::routes;

async fn serve(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    url
}

#[tokio::test]
async fn a_served_router_is_limited_by_the_address_of_its_clients() {
    let url = serve(routes().layer(RateLimitLayer::per_ip(Rate::per_hour(2)))).await;
    for expected in [200, 200, 429, 429] {
        assert_eq!(reqwest::get(&url).await.expect("an answer").status().as_u16(), expected);
    }
}

#[tokio::test]
async fn the_layer_stands_between_others() {
    let layers = ServiceBuilder::new()
        .layer(RateLimitLayer::per_ip(Rate::per_hour(5)))
        .layer(RateLimitLayer::per_ip(Rate::per_hour(1)));
    let url = serve(routes().layer(layers)).await;
    for expected in [200, 429] {
        assert_eq!(reqwest::get(&url).await.expect("an answer").status().as_u16(), expected);
    }
}
