# The media service. Debian, not Alpine: sharp's prebuilt binaries then are those for glibc, which are what CI runs.

FROM oven/bun:1.4.5-slim AS dependencies
WORKDIR /home/bun/app
COPY package.json bun.lock ./
RUN --mount=type=cache,target=/root/.bun/install/cache \
    bun install --frozen-lockfile --production

FROM oven/bun:1.4.5-slim
WORKDIR /home/bun/app
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080
# All of it belongs to root: the service can read its own code, not change it.
COPY --from=dependencies /home/bun/app/node_modules ./node_modules
COPY package.json tsconfig.json ./
COPY sql ./sql
COPY src ./src
USER bun
EXPOSE 8080
STOPSIGNAL SIGTERM
# There is no curl in the image. Alive, not ready: a database that is down is no reason to call the process ill.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["bun", "-e", "const r = await fetch(`http://127.0.0.1:${process.env.PORT}/health/live`, { signal: AbortSignal.timeout(3000) }); process.exit(r.ok ? 0 : 1)"]
CMD ["bun", "src/main.ts"]
