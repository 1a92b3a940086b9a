# Tandem as an image. Plain Dockerfile syntax: the classic builder of Compose 1.29 builds it too.

FROM rust:1-slim-bookworm AS build
# `release`, or `dev` for an image that is ready sooner.
ARG PROFILE=release
WORKDIR /src

# The dependencies by themselves: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --profile "$PROFILE" \
    && rm -r src

COPY src src
# The files are older than what was built from their placeholders, so cargo must see them as new.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --bin tandem \
    && cp target/*/tandem /usr/local/bin/tandem

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tandem
COPY --from=build /usr/local/bin/tandem /usr/local/bin/tandem
USER tandem
EXPOSE 3306 6032 6080
# The image has neither curl nor wget; bash can open a connection by itself.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/6080 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
ENTRYPOINT ["tandem"]
CMD ["run", "-c", "/etc/tandem/proxy.toml"]
