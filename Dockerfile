# The media service. Debian, not Alpine: sharp's prebuilt binaries then are those for glibc, which are what CI runs.

FROM oven/bun:1.4.5-slim AS console
WORKDIR /home/bun/app
COPY package.json bun.lock bunfig.toml tsconfig.json ./
COPY src/client ./src/client
COPY src/console ./src/console
RUN --mount=type=cache,target=/root/.bun/install/cache \
    bun install --frozen-lockfile --production && bun src/console/build.ts

FROM oven/bun:1.4.5-slim AS packages
WORKDIR /home/bun/app
COPY package.json bun.lock bunfig.toml ./
# The lock file names all packages of the repository: without them it would have to change.
COPY src/client/package.json ./src/client/
COPY src/console/package.json ./src/console/
COPY deploy/prune-packages.ts ./deploy/
RUN --mount=type=cache,target=/root/.bun/install/cache \
    bun install --frozen-lockfile --production --filter media-service && bun deploy/prune-packages.ts node_modules

FROM oven/bun:1.4.5-slim
ARG VERSION=0.1.0
# The commit, from the build.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-service" \
      org.opencontainers.image.description="A self-hosted REST service that owns the life of media files: uploads, signed links, events, removal." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="oven/bun:1.4.5-slim"
WORKDIR /home/bun/app
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080
# All of it belongs to root: the service can read its own code, not change it.
COPY package.json tsconfig.json NOTICE ./
COPY --from=packages /home/bun/app/node_modules ./node_modules
COPY sql ./sql
COPY src ./src
COPY --from=console /home/bun/app/src/console/dist ./src/console/dist
# By number: Kubernetes checks runAsNonRoot without reading /etc/passwd. It is the base image's user `bun`.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
# There is no curl in the image. Alive, not ready: a database that is down is no reason to call the process ill.
# Debian's buildah knows no --start-interval.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bun", "-e", "const r = await fetch(`http://127.0.0.1:${process.env.PORT}/health/live`, { signal: AbortSignal.timeout(3000) }); process.exit(r.ok ? 0 : 1)"]
CMD ["bun", "src/main.ts"]
