# The wallet as a container: `docker build --tag app_name .`, then `docker run -p 5000:5000 app_name`.
#
# It needs no right, and writes to /data and /tmp alone. So run it with
# `--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges`, as `deploy/` does.
#
# Two builds of one commit should be one image. Name both base images by digest (`FROM rust@sha256:…`) for that, since a
# tag comes to mean another image, and have BuildKit give every file the time of the commit:
# `docker buildx build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
#  --output type=image,rewrite-timestamp=true .`

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Nobody profiles inside a container, and line tables would be most of the image. Function names stay for backtraces.
ENV CARGO_PROFILE_RELEASE_DEBUG=none
# No path of the machine that builds is in the program, and no time of the build, which mimalloc would put there.
ENV SOURCE_DATE_EPOCH=0
ENV RUSTFLAGS="--remap-path-prefix=/usr/local/cargo/registry/src=registry --remap-path-prefix=/build=."

# The dependencies, in a layer of their own, which only a change of these files builds again. Cargo wants every
# target that the manifest names to exist, so each is an empty one here. What was built of the empty package is
# cleaned away: cargo tells old from new by time stamps, and the real sources may be older than this layer.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it benches/service \
 && touch src/lib.rs tests/it/main.rs \
 && for program in src/main.rs build.rs benches/service/main.rs; do echo 'fn main() {}' > "$program"; done \
 && cargo build --release --locked --bin wallet \
 && cargo clean --release --locked --package wallet

COPY build.rs ./
COPY proto proto
COPY migrations migrations
COPY src src
RUN cargo build --release --locked --bin wallet

# The same Debian that the build image stands on: the C library is the one that was linked against.
FROM debian:bookworm-slim
COPY --from=build /build/target/release/wallet /usr/local/bin/wallet
# Whom `wallet relay` trusts.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The ledger's place belongs to a user that is nobody else. Its number is fixed, so that what is in a volume is still
# its own after the next build; it needs no name. OpenShift runs a container as a random user of group 0 instead: the
# group may write there as well.
RUN install --directory --owner=10001 --group=0 --mode=0770 /data
USER 10001:0
WORKDIR /data
VOLUME ["/data"]

ENV WALLET_HTTP_ADDR=0.0.0.0:5000 \
    WALLET_GRPC_ADDR=0.0.0.0:50051 \
    WALLET_DATABASE_URL=sqlite:///data/wallet.db
EXPOSE 5000 50051

HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["wallet", "healthcheck"]
# The wallet is process 1 itself, with no shell before it, so that this reaches it: it finishes what is in flight.
STOPSIGNAL SIGTERM
ENTRYPOINT ["wallet"]
