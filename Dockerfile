# The service on a CPU. It does not run as root and needs no writable files, except /tmp for uploads over 1 MB.
# It needs a token: docker run -e KANJO_TOKEN=... kanjo. Without one: docker run kanjo --insecure
FROM python:3.12-slim
RUN useradd --no-create-home --uid 10001 kanjo
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY examples/recordings examples/recordings
RUN pip install --no-cache-dir --no-compile ".[serve]" && rm -rf /src/*
USER kanjo
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --start-period=10s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["kanjo", "serve", "--host", "0.0.0.0"]
CMD ["--port", "8000"]
