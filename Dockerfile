# One image for every service of ours; docker-compose.yml gives each its command.
FROM python:3.11-slim-bookworm
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 RINGLOG_CACHE=/opt/ringlog
COPY requirements-build.lock requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements-build.lock \
 && pip install --no-deps --require-hashes --no-build-isolation -r requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation -e . && python -m stack install flink
RUN useradd --uid 10001 ringlog && install -d -o ringlog /data
USER ringlog
ENV RINGLOG_HOME=/data
