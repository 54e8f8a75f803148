//! The standard reflection service, in both its versions.

use futures::stream;

use super::app;

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    let (app, _) = app().await;
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let message_request = Some(MessageRequest::ListServices(String::new()));
            let request = ServerReflectionRequest { host: String::new(), message_request };
            let mut client = ServerReflectionClient::new(app.channel().await);
            let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
            match answers.message().await.unwrap().unwrap().message_response {
                Some(MessageResponse::ListServicesResponse(list)) => {
                    list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
                }
                other => panic!("no list: {other:?}"),
            }
        }};
    }
    for services in [listed!(v1), listed!(v1alpha)] {
        for name in ["wallet.v1.WalletService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|service| service == name), "{name} in {services:?}");
        }
    }
}

#[tokio::test]
async fn a_reflection_stream_left_open_does_not_hold_up_the_shut_down() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let (app, _) = app().await;
    let mut client = ServerReflectionClient::new(app.channel().await);
    let mut answers = client.server_reflection_info(stream::pending()).await.unwrap().into_inner();
    app.begin_stop();
    assert!(answers.message().await.expect("it is not cut off").is_none());
    app.stop().await;
}
