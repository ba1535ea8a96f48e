# The service on a CPU: not root, and a read-only root is enough (give it --tmpfs /tmp for large uploads).
FROM python:3.12-slim
RUN useradd --no-create-home --uid 10001 kanjo
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-compile ".[serve]" && rm -rf /src/*
USER kanjo
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --start-period=10s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["kanjo", "serve", "--host", "0.0.0.0"]
CMD ["--port", "8000"]
