//! Server reflection, so that a client such as `grpcurl` needs no files.

mod descriptors;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use futures::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;
use tonic_reflection::pb::v1::server_reflection_server::{ServerReflection, ServerReflectionServer};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, ExtensionRequest, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use tower::ServiceExt as _;

use self::descriptors::Descriptors;
use super::side_streams::StreamLimit;
use super::{GrpcOptions, status};

/// The longest name or host that is looked up and repeated, in bytes. Nothing here has a longer one.
const NAME_LEN_MAX: usize = 256;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// The version that older releases of grpcurl speak. Its messages have the same fields, by the same numbers.
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Both versions of server reflection. Their streams end when `shutdown` is cancelled.
pub fn router(options: GrpcOptions, shutdown: CancellationToken) -> Router {
    let streams = StreamLimit::new(options.reflections_max);
    let reflection = Reflection { descriptors: Arc::new(Descriptors::new()), streams, shutdown };
    let service = ServerReflectionServer::new(reflection).max_decoding_message_size(options.message_size_max);
    let alpha = service.clone().map_request(|mut request: Request| {
        *request.uri_mut() = Uri::from_static(V1);
        request
    });
    Router::new().route_service(V1, service).route_service(V1_ALPHA, alpha)
}

struct Reflection {
    descriptors: Arc<Descriptors>,
    streams: StreamLimit,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let (_, extensions, questions) = request.into_parts();
        let descriptors = Arc::clone(&self.descriptors);
        let answers = questions
            // A client that leaves its stream open would delay the shut-down.
            .take_until(self.shutdown.clone().cancelled_owned())
            .map(move |question| match question {
                Ok(question) => Ok(answer(&descriptors, question)),
                Err(error) => Err(status::normal(error)),
            });
        Ok(Response::new(Box::pin(self.streams.admit(&extensions, answers)?)))
    }
}

/// The answer to one question. What is not known is an answer too, and does not end the stream.
fn answer(descriptors: &Descriptors, request: ServerReflectionRequest) -> ServerReflectionResponse {
    let name = request.message_request.as_ref().map_or("", name);
    if name.len() > NAME_LEN_MAX || request.host.len() > NAME_LEN_MAX {
        let message_response = Some(error(tonic::Code::NotFound, "No such name: it is too long"));
        return ServerReflectionResponse { message_response, ..ServerReflectionResponse::default() };
    }
    let answer = match &request.message_request {
        Some(Question::FileByFilename(name)) => descriptors.file(name).map(file),
        Some(Question::FileContainingSymbol(symbol)) => descriptors.file_of(symbol).map(file),
        Some(Question::FileContainingExtension(ExtensionRequest { containing_type, extension_number })) => {
            descriptors.file_of_extension(containing_type, *extension_number).map(file)
        }
        Some(Question::AllExtensionNumbersOfType(name)) => descriptors.extension_numbers(name).map(|numbers| {
            let (base_type_name, extension_number) = (name.clone(), numbers);
            Answer::AllExtensionNumbersResponse(ExtensionNumberResponse { base_type_name, extension_number })
        }),
        Some(Question::ListServices(_)) => {
            let service = descriptors.services().map(|name| ServiceResponse { name }).collect();
            Some(Answer::ListServicesResponse(ListServiceResponse { service }))
        }
        None => Some(error(tonic::Code::Unimplemented, "No such kind of question")),
    };
    let answer = answer.unwrap_or_else(|| error(tonic::Code::NotFound, "No such file, symbol or extension"));
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(answer),
    }
}

/// What a question asks about, in its caller's words.
fn name(question: &Question) -> &str {
    match question {
        Question::FileByFilename(name)
        | Question::FileContainingSymbol(name)
        | Question::AllExtensionNumbersOfType(name)
        | Question::ListServices(name)
        | Question::FileContainingExtension(ExtensionRequest { containing_type: name, .. }) => name,
    }
}

fn file(descriptor: Vec<u8>) -> Answer {
    Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: vec![descriptor] })
}

fn error(code: tonic::Code, message: &str) -> Answer {
    Answer::ErrorResponse(ErrorResponse { error_code: code.into(), error_message: message.to_owned() })
}
