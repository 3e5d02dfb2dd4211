# The sample chat (examples/chat-node) for compose.yaml. Build it in the root of the checkout.

FROM node:20-slim AS build
WORKDIR /build
COPY sdk-node sdk-node
RUN cd sdk-node && npm ci --ignore-scripts && npm run build && npm prune --omit=dev --ignore-scripts
COPY examples/page examples/page
RUN cd examples/page && npm ci --ignore-scripts
COPY examples/chat-node examples/chat-node
RUN cd examples/chat-node && npm ci --ignore-scripts

FROM node:20-slim
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx
COPY --from=build /build /app
WORKDIR /app/examples/chat-node
ENV HOST=0.0.0.0 PORT=3000
USER 1000:1000
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
    CMD ["node", "-e", "fetch('http://127.0.0.1:3000/').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "index.mjs"]
