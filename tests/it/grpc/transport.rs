//! Requests that are no calls, and what every answer carries.

use axum::http;
use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tonic::{Code, Request};
use wallet::api::grpc::proto::ListEntriesRequest;

use super::{USER, app, assert_status, balance, charge};

#[tokio::test]
async fn the_frameworks_own_errors_have_their_reason() {
    let (app, mut client) = app().await;
    let large = ListEntriesRequest { user_id: Some(USER), page_size: Some(1), page_token: Some("1".repeat(64 * 1024)) };
    let status = client.list_entries(large).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", &[]);

    let raw = async |path: &'static str, bytes: &'static [u8]| {
        let mut grpc = tonic::client::Grpc::new(app.channel().await);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Raw, ()>::default();
        grpc.unary(Request::new(Raw(bytes)), path.parse().unwrap(), codec).await.unwrap_err()
    };
    let status = raw("/wallet.v1.WalletService/Charge", b"\x08").await;
    assert_status(&status, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    let status = raw("/wallet.v1.WalletService/Steal", b"").await;
    assert_status(&status, Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
    let status = raw("/wallet.v9.Other/Charge", b"").await;
    assert_status(&status, Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
}

/// A message that is these bytes, whatever they are.
#[derive(Debug, Default)]
struct Raw(&'static [u8]);

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl bytes::BufMut) {
        buffer.put_slice(self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        unreachable!("it is only sent")
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {}
}

#[tokio::test]
async fn a_compression_that_is_not_known_is_refused_with_what_is() {
    let (_app, mut client) = app().await;
    for encoding in ["gzip", "zstd", "br"] {
        let mut request = Request::new(charge(1, 100));
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let status = client.charge(request).await.unwrap_err();
        assert_status(&status, Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity");
        let mut request = Request::new(futures::stream::pending());
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let status = client.transact(request).await.unwrap_err();
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity", "{status:?}");
    }
    let mut request = Request::new(charge(1, 100));
    request.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
    assert!(!client.charge(request).await.unwrap().into_inner().replayed);
}

#[tokio::test]
async fn a_request_id_is_echoed() {
    let (_app, mut client) = app().await;
    let mut request = Request::new(charge(1, 1));
    request.metadata_mut().insert("x-request-id", "round-7".parse().unwrap());
    assert_eq!(client.charge(request).await.unwrap().metadata().get("x-request-id").unwrap(), "round-7");
    assert_eq!(client.charge(charge(1, 1)).await.unwrap().metadata().get("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn what_is_no_grpc_is_not_done() {
    let (app, client) = app().await;
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<http_body_util::Full<Bytes>>();
    let message = charge(1, 100).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    let body = Bytes::from([&[0][..], &length.to_be_bytes(), &message].concat());
    for (content_type, status) in [("text/plain", 415), ("application/grpc-web", 415), ("application/grpc+proto", 200)]
    {
        let request = http::Request::post(format!("http://{}/wallet.v1.WalletService/Charge", app.grpc))
            .header("content-type", content_type)
            .body(http_body_util::Full::new(body.clone()))
            .unwrap();
        assert_eq!(http.request(request).await.unwrap().status(), status, "{content_type}");
        assert_eq!(balance(&client).await, if status == 200 { 900 } else { 1_000 });
    }
}
