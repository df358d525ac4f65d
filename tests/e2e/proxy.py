"""nginx as a TLS-terminating reverse proxy in front of a server."""

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/n1; proxy_temp_path {folder}/n2;
  fastcgi_temp_path {folder}/n3; uwsgi_temp_path {folder}/n4; scgi_temp_path {folder}/n5;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 443 ssl; ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      proxy_pass http://127.0.0.1:8080; proxy_http_version 1.1;
      proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
      proxy_buffering off; proxy_read_timeout 1h;
    }}
  }}
}}
"""


def start_proxy(host, cert, key):
    """Port 443 of `host`, for a server on its 127.0.0.1:8080."""
    conf = host.dir / "nginx.conf"
    conf.write_text(CONFIG.format(folder=host.dir, cert=cert, key=key))
    return host.start("nginx", "-c", conf, log="nginx.log")
