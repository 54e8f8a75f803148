//! Client certificates: their names map to the same scopes as tokens.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use tonic::Code;
use wallet::access::Scope;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, Entry, GetCheckpointRequest, ListEntriesRequest};
use wallet::engine::{Clock as _, SystemClock};

use super::{Tokens, with_token};
use crate::own_tls::{Dialer, HTTP1};
use crate::support::app::App;
use crate::support::authority::{self, Authority, Issued};

const USERS: &str = "/api/v1/users";
const USER: &str = r#"{"UserId":1,"AccountBalance":10.00}"#;
const CHARGE: &str = "/api/v1/charge";
const CHARGED: &str = r#"{"UserId":1,"EventId":1,"Amount":1.00}"#;

/// A service with TLS, the CA of its certificate and of its clients', and the folder of its files.
struct Secure {
    app: App,
    authority: Authority,
    _dir: TempDir,
}

impl Secure {
    async fn spawn(tokens: Option<&Tokens>) -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the CA"));
        let tls = authority::settings(dir.path(), &authority.issue_server(), Some(&authority));
        let tokens_file = tokens.map(Tokens::path);
        let app = App::spawn_with(|settings| {
            settings.tls = tls;
            settings.access.tokens_file = tokens_file;
        })
        .await;
        Self { app, authority, _dir: dir }
    }

    fn issue(&self, name: &str) -> Issued {
        self.authority.issue(name, |params| {
            let uri = format!("spiffe://example/{name}");
            params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        })
    }

    /// The status of a call by REST, on a connection with this certificate.
    async fn post(&self, issued: Option<&Issued>, path: &str, body: &str) -> u16 {
        let dialer = match issued {
            Some(issued) => Dialer::with_certificate(&self.authority, issued),
            None => Dialer::trusting(&self.authority),
        };
        let mut connection = dialer.connect(self.app.http, HTTP1).await.unwrap();
        connection.request("POST", path, body).await.unwrap().status
    }

    async fn grpc(&self, issued: Option<&Issued>) -> WalletServiceClient<tonic::transport::Channel> {
        let dialer = Dialer::trusting(&self.authority);
        WalletServiceClient::new(match issued {
            Some(issued) => dialer.channel_with(self.app.grpc, issued).await,
            None => dialer.channel(self.app.grpc).await,
        })
    }
}

#[tokio::test]
async fn the_name_of_a_certificate_has_a_scope() {
    let tokens = Tokens::new();
    let rows = [("engine", "engine-b"), ("operator", "cashier")].map(|(scope, name)| {
        format!("[[certificate]]\nsubject = \"spiffe://example/{name}\"\nname = \"{name}\"\nscope = \"{scope}\"\n")
    });
    fs::write(tokens.path(), rows.concat()).unwrap();
    let auditor = tokens.add("auditor", Scope::Auditor);
    let secure = Secure::spawn(Some(&tokens)).await;
    let (engine, operator, unknown) = (secure.issue("engine-b"), secure.issue("cashier"), secure.issue("engine-c"));
    assert_eq!(secure.post(Some(&engine), USERS, USER).await, 403);
    assert_eq!(secure.post(Some(&operator), USERS, USER).await, 201);
    assert_eq!(secure.post(Some(&engine), CHARGE, CHARGED).await, 200);
    assert_eq!(secure.post(Some(&operator), CHARGE, CHARGED).await, 403);
    assert_eq!(secure.post(Some(&unknown), CHARGE, CHARGED).await, 401);
    assert_eq!(secure.post(None, CHARGE, CHARGED).await, 401);

    let charge = ChargeRequest { user_id: Some(1), event_id: Some(2), amount_minor: Some(1), round_id: None };
    secure.grpc(Some(&engine)).await.charge(charge).await.unwrap();
    for (issued, code) in [(&operator, Code::PermissionDenied), (&unknown, Code::Unauthenticated)] {
        assert_eq!(secure.grpc(Some(issued)).await.charge(charge).await.unwrap_err().code(), code);
    }
    let checkpoint = GetCheckpointRequest {};
    let nobody = secure.grpc(None).await.get_checkpoint(checkpoint).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    // A token decides, if there is one: also a wrong one.
    let mut client = secure.grpc(Some(&engine)).await;
    client.get_checkpoint(with_token(checkpoint, &auditor)).await.unwrap();
    let wrong = client.charge(with_token(charge, "wallet_wrong")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    let list = ListEntriesRequest { user_id: Some(1), ..ListEntriesRequest::default() };
    let entries = client.list_entries(with_token(list, &auditor)).await.unwrap().into_inner().entries;
    let callers: Vec<&str> = entries.iter().map(Entry::caller).collect();
    assert_eq!(callers, ["engine-b", "engine-b", "cashier"]);
}

#[tokio::test]
async fn a_certificate_that_ends_is_good_for_no_further_call() {
    let secure = Secure::spawn(None).await;
    let now = SystemClock.now().microseconds() / 1_000_000;
    let ends = time::OffsetDateTime::from_unix_timestamp(now + 3).unwrap();
    let issued = secure.authority.issue("short", |params| params.not_after = ends);
    let dialer = Dialer::with_certificate(&secure.authority, &issued);
    let mut connection = dialer.connect(secure.app.http, HTTP1).await.unwrap();
    let mut status = connection.request("POST", USERS, USER).await.unwrap().status;
    assert_eq!(status, 201);
    while status == 201 || status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = connection.request("POST", USERS, USER).await.unwrap().status;
    }
    assert_eq!(status, 401, "its connection is open still");
}

#[tokio::test]
async fn without_a_tokens_file_a_certificate_of_the_authority_may_do_everything_and_nobody_else_anything() {
    let secure = Secure::spawn(None).await;
    let any = secure.issue("anyone");
    assert_eq!(secure.post(None, USERS, USER).await, 401);
    assert_eq!(secure.post(Some(&any), USERS, USER).await, 201);
    assert_eq!(secure.post(Some(&any), CHARGE, CHARGED).await, 200);
    let mut connection = Dialer::trusting(&secure.authority).connect(secure.app.http, HTTP1).await.unwrap();
    assert_eq!(connection.request("GET", "/readyz", "").await.unwrap().status, 200, "probes bring no certificate");
}
