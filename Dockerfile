# The page on a CPU:  docker build -t segcore . && docker run --rm -p 127.0.0.1:7860:7860 segcore
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860

WORKDIR /app

# PyTorch's builds for CPUs are ten times smaller than those for graphics cards. pip then keeps them.
COPY requirements.txt ./
RUN grep -E '^torch(vision)?==' requirements.txt | xargs pip install --index-url https://download.pytorch.org/whl/cpu
RUN pip install -r requirements.txt

# Downloaded weights and cached results lie in this user's home. The code stays root's, so the page cannot change it.
RUN useradd --uid 1000 --create-home segcore && install -d -o segcore -g segcore /home/segcore/.cache
COPY LICENSE NOTICE ./
COPY examples examples
COPY segcore segcore
COPY demo demo

USER 1000
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['GRADIO_SERVER_PORT']}/gradio_api/app_id\", timeout=5)"]
CMD ["python", "demo/app.py"]
