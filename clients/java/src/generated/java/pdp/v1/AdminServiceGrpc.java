package pdp.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class AdminServiceGrpc {

  private AdminServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "pdp.v1.AdminService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<pdp.v1.GetStatusRequest,
      pdp.v1.GetStatusResponse> getGetStatusMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetStatus",
      requestType = pdp.v1.GetStatusRequest.class,
      responseType = pdp.v1.GetStatusResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.GetStatusRequest,
      pdp.v1.GetStatusResponse> getGetStatusMethod() {
    io.grpc.MethodDescriptor<pdp.v1.GetStatusRequest, pdp.v1.GetStatusResponse> getGetStatusMethod;
    if ((getGetStatusMethod = AdminServiceGrpc.getGetStatusMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getGetStatusMethod = AdminServiceGrpc.getGetStatusMethod) == null) {
          AdminServiceGrpc.getGetStatusMethod = getGetStatusMethod =
              io.grpc.MethodDescriptor.<pdp.v1.GetStatusRequest, pdp.v1.GetStatusResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetStatus"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.GetStatusRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.GetStatusResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("GetStatus"))
              .build();
        }
      }
    }
    return getGetStatusMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.ReloadRequest,
      pdp.v1.ReloadResponse> getReloadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Reload",
      requestType = pdp.v1.ReloadRequest.class,
      responseType = pdp.v1.ReloadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.ReloadRequest,
      pdp.v1.ReloadResponse> getReloadMethod() {
    io.grpc.MethodDescriptor<pdp.v1.ReloadRequest, pdp.v1.ReloadResponse> getReloadMethod;
    if ((getReloadMethod = AdminServiceGrpc.getReloadMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getReloadMethod = AdminServiceGrpc.getReloadMethod) == null) {
          AdminServiceGrpc.getReloadMethod = getReloadMethod =
              io.grpc.MethodDescriptor.<pdp.v1.ReloadRequest, pdp.v1.ReloadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Reload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.ReloadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.ReloadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("Reload"))
              .build();
        }
      }
    }
    return getReloadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.ListInterceptorsRequest,
      pdp.v1.ListInterceptorsResponse> getListInterceptorsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListInterceptors",
      requestType = pdp.v1.ListInterceptorsRequest.class,
      responseType = pdp.v1.ListInterceptorsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.ListInterceptorsRequest,
      pdp.v1.ListInterceptorsResponse> getListInterceptorsMethod() {
    io.grpc.MethodDescriptor<pdp.v1.ListInterceptorsRequest, pdp.v1.ListInterceptorsResponse> getListInterceptorsMethod;
    if ((getListInterceptorsMethod = AdminServiceGrpc.getListInterceptorsMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getListInterceptorsMethod = AdminServiceGrpc.getListInterceptorsMethod) == null) {
          AdminServiceGrpc.getListInterceptorsMethod = getListInterceptorsMethod =
              io.grpc.MethodDescriptor.<pdp.v1.ListInterceptorsRequest, pdp.v1.ListInterceptorsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListInterceptors"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.ListInterceptorsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.ListInterceptorsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("ListInterceptors"))
              .build();
        }
      }
    }
    return getListInterceptorsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.PutInterceptorRequest,
      pdp.v1.PutInterceptorResponse> getPutInterceptorMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PutInterceptor",
      requestType = pdp.v1.PutInterceptorRequest.class,
      responseType = pdp.v1.PutInterceptorResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<pdp.v1.PutInterceptorRequest,
      pdp.v1.PutInterceptorResponse> getPutInterceptorMethod() {
    io.grpc.MethodDescriptor<pdp.v1.PutInterceptorRequest, pdp.v1.PutInterceptorResponse> getPutInterceptorMethod;
    if ((getPutInterceptorMethod = AdminServiceGrpc.getPutInterceptorMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getPutInterceptorMethod = AdminServiceGrpc.getPutInterceptorMethod) == null) {
          AdminServiceGrpc.getPutInterceptorMethod = getPutInterceptorMethod =
              io.grpc.MethodDescriptor.<pdp.v1.PutInterceptorRequest, pdp.v1.PutInterceptorResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PutInterceptor"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.PutInterceptorRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.PutInterceptorResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("PutInterceptor"))
              .build();
        }
      }
    }
    return getPutInterceptorMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.DeleteInterceptorRequest,
      pdp.v1.DeleteInterceptorResponse> getDeleteInterceptorMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteInterceptor",
      requestType = pdp.v1.DeleteInterceptorRequest.class,
      responseType = pdp.v1.DeleteInterceptorResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.DeleteInterceptorRequest,
      pdp.v1.DeleteInterceptorResponse> getDeleteInterceptorMethod() {
    io.grpc.MethodDescriptor<pdp.v1.DeleteInterceptorRequest, pdp.v1.DeleteInterceptorResponse> getDeleteInterceptorMethod;
    if ((getDeleteInterceptorMethod = AdminServiceGrpc.getDeleteInterceptorMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getDeleteInterceptorMethod = AdminServiceGrpc.getDeleteInterceptorMethod) == null) {
          AdminServiceGrpc.getDeleteInterceptorMethod = getDeleteInterceptorMethod =
              io.grpc.MethodDescriptor.<pdp.v1.DeleteInterceptorRequest, pdp.v1.DeleteInterceptorResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteInterceptor"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.DeleteInterceptorRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.DeleteInterceptorResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("DeleteInterceptor"))
              .build();
        }
      }
    }
    return getDeleteInterceptorMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.WatchRevisionsRequest,
      pdp.v1.WatchRevisionsResponse> getWatchRevisionsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchRevisions",
      requestType = pdp.v1.WatchRevisionsRequest.class,
      responseType = pdp.v1.WatchRevisionsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<pdp.v1.WatchRevisionsRequest,
      pdp.v1.WatchRevisionsResponse> getWatchRevisionsMethod() {
    io.grpc.MethodDescriptor<pdp.v1.WatchRevisionsRequest, pdp.v1.WatchRevisionsResponse> getWatchRevisionsMethod;
    if ((getWatchRevisionsMethod = AdminServiceGrpc.getWatchRevisionsMethod) == null) {
      synchronized (AdminServiceGrpc.class) {
        if ((getWatchRevisionsMethod = AdminServiceGrpc.getWatchRevisionsMethod) == null) {
          AdminServiceGrpc.getWatchRevisionsMethod = getWatchRevisionsMethod =
              io.grpc.MethodDescriptor.<pdp.v1.WatchRevisionsRequest, pdp.v1.WatchRevisionsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchRevisions"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.WatchRevisionsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.WatchRevisionsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AdminServiceMethodDescriptorSupplier("WatchRevisions"))
              .build();
        }
      }
    }
    return getWatchRevisionsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static AdminServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AdminServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AdminServiceStub>() {
        @java.lang.Override
        public AdminServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AdminServiceStub(channel, callOptions);
        }
      };
    return AdminServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static AdminServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AdminServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AdminServiceBlockingV2Stub>() {
        @java.lang.Override
        public AdminServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AdminServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return AdminServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static AdminServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AdminServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AdminServiceBlockingStub>() {
        @java.lang.Override
        public AdminServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AdminServiceBlockingStub(channel, callOptions);
        }
      };
    return AdminServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static AdminServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AdminServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AdminServiceFutureStub>() {
        @java.lang.Override
        public AdminServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AdminServiceFutureStub(channel, callOptions);
        }
      };
    return AdminServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Tells how the service is.
     * </pre>
     */
    default void getStatus(pdp.v1.GetStatusRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.GetStatusResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetStatusMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads the bundle's source again. A bad bundle is an answer with problems, and the last good one goes on serving.
     * </pre>
     */
    default void reload(pdp.v1.ReloadRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.ReloadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReloadMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists the interceptors of the current revision.
     * </pre>
     */
    default void listInterceptors(pdp.v1.ListInterceptorsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.ListInterceptorsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListInterceptorsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Adds an interceptor, or replaces the one of the same name. The first message has the binding, every later one a
     * part of the module. The module is compiled, checked and tried before it is accepted: one that does not pass is
     * INVALID_ARGUMENT with the class and the reason, and nothing changes. FAILED_PRECONDITION if the bundle cannot be
     * written.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<pdp.v1.PutInterceptorRequest> putInterceptor(
        io.grpc.stub.StreamObserver<pdp.v1.PutInterceptorResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getPutInterceptorMethod(), responseObserver);
    }

    /**
     * <pre>
     * Removes an interceptor. NOT_FOUND if there is none of that name.
     * </pre>
     */
    default void deleteInterceptor(pdp.v1.DeleteInterceptorRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.DeleteInterceptorResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteInterceptorMethod(), responseObserver);
    }

    /**
     * <pre>
     * Sends the current revision at once, and then every change of revision or state.
     * </pre>
     */
    default void watchRevisions(pdp.v1.WatchRevisionsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.WatchRevisionsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchRevisionsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service AdminService.
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public static abstract class AdminServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return AdminServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service AdminService.
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public static final class AdminServiceStub
      extends io.grpc.stub.AbstractAsyncStub<AdminServiceStub> {
    private AdminServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AdminServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AdminServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Tells how the service is.
     * </pre>
     */
    public void getStatus(pdp.v1.GetStatusRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.GetStatusResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetStatusMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads the bundle's source again. A bad bundle is an answer with problems, and the last good one goes on serving.
     * </pre>
     */
    public void reload(pdp.v1.ReloadRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.ReloadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReloadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists the interceptors of the current revision.
     * </pre>
     */
    public void listInterceptors(pdp.v1.ListInterceptorsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.ListInterceptorsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListInterceptorsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Adds an interceptor, or replaces the one of the same name. The first message has the binding, every later one a
     * part of the module. The module is compiled, checked and tried before it is accepted: one that does not pass is
     * INVALID_ARGUMENT with the class and the reason, and nothing changes. FAILED_PRECONDITION if the bundle cannot be
     * written.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<pdp.v1.PutInterceptorRequest> putInterceptor(
        io.grpc.stub.StreamObserver<pdp.v1.PutInterceptorResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getPutInterceptorMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Removes an interceptor. NOT_FOUND if there is none of that name.
     * </pre>
     */
    public void deleteInterceptor(pdp.v1.DeleteInterceptorRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.DeleteInterceptorResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteInterceptorMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Sends the current revision at once, and then every change of revision or state.
     * </pre>
     */
    public void watchRevisions(pdp.v1.WatchRevisionsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.WatchRevisionsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchRevisionsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service AdminService.
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public static final class AdminServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<AdminServiceBlockingV2Stub> {
    private AdminServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AdminServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AdminServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Tells how the service is.
     * </pre>
     */
    public pdp.v1.GetStatusResponse getStatus(pdp.v1.GetStatusRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads the bundle's source again. A bad bundle is an answer with problems, and the last good one goes on serving.
     * </pre>
     */
    public pdp.v1.ReloadResponse reload(pdp.v1.ReloadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReloadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists the interceptors of the current revision.
     * </pre>
     */
    public pdp.v1.ListInterceptorsResponse listInterceptors(pdp.v1.ListInterceptorsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListInterceptorsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Adds an interceptor, or replaces the one of the same name. The first message has the binding, every later one a
     * part of the module. The module is compiled, checked and tried before it is accepted: one that does not pass is
     * INVALID_ARGUMENT with the class and the reason, and nothing changes. FAILED_PRECONDITION if the bundle cannot be
     * written.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<pdp.v1.PutInterceptorRequest, pdp.v1.PutInterceptorResponse>
        putInterceptor() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getPutInterceptorMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Removes an interceptor. NOT_FOUND if there is none of that name.
     * </pre>
     */
    public pdp.v1.DeleteInterceptorResponse deleteInterceptor(pdp.v1.DeleteInterceptorRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteInterceptorMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends the current revision at once, and then every change of revision or state.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, pdp.v1.WatchRevisionsResponse>
        watchRevisions(pdp.v1.WatchRevisionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchRevisionsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service AdminService.
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public static final class AdminServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<AdminServiceBlockingStub> {
    private AdminServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AdminServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AdminServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Tells how the service is.
     * </pre>
     */
    public pdp.v1.GetStatusResponse getStatus(pdp.v1.GetStatusRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads the bundle's source again. A bad bundle is an answer with problems, and the last good one goes on serving.
     * </pre>
     */
    public pdp.v1.ReloadResponse reload(pdp.v1.ReloadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReloadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists the interceptors of the current revision.
     * </pre>
     */
    public pdp.v1.ListInterceptorsResponse listInterceptors(pdp.v1.ListInterceptorsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListInterceptorsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes an interceptor. NOT_FOUND if there is none of that name.
     * </pre>
     */
    public pdp.v1.DeleteInterceptorResponse deleteInterceptor(pdp.v1.DeleteInterceptorRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteInterceptorMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends the current revision at once, and then every change of revision or state.
     * </pre>
     */
    public java.util.Iterator<pdp.v1.WatchRevisionsResponse> watchRevisions(
        pdp.v1.WatchRevisionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchRevisionsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service AdminService.
   * <pre>
   * Shows and changes what the service runs on. It needs a right of its own and may have a listener of its own.
   * </pre>
   */
  public static final class AdminServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<AdminServiceFutureStub> {
    private AdminServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AdminServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AdminServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Tells how the service is.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.GetStatusResponse> getStatus(
        pdp.v1.GetStatusRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetStatusMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reads the bundle's source again. A bad bundle is an answer with problems, and the last good one goes on serving.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.ReloadResponse> reload(
        pdp.v1.ReloadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReloadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists the interceptors of the current revision.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.ListInterceptorsResponse> listInterceptors(
        pdp.v1.ListInterceptorsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListInterceptorsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Removes an interceptor. NOT_FOUND if there is none of that name.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.DeleteInterceptorResponse> deleteInterceptor(
        pdp.v1.DeleteInterceptorRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteInterceptorMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_STATUS = 0;
  private static final int METHODID_RELOAD = 1;
  private static final int METHODID_LIST_INTERCEPTORS = 2;
  private static final int METHODID_DELETE_INTERCEPTOR = 3;
  private static final int METHODID_WATCH_REVISIONS = 4;
  private static final int METHODID_PUT_INTERCEPTOR = 5;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_GET_STATUS:
          serviceImpl.getStatus((pdp.v1.GetStatusRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.GetStatusResponse>) responseObserver);
          break;
        case METHODID_RELOAD:
          serviceImpl.reload((pdp.v1.ReloadRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.ReloadResponse>) responseObserver);
          break;
        case METHODID_LIST_INTERCEPTORS:
          serviceImpl.listInterceptors((pdp.v1.ListInterceptorsRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.ListInterceptorsResponse>) responseObserver);
          break;
        case METHODID_DELETE_INTERCEPTOR:
          serviceImpl.deleteInterceptor((pdp.v1.DeleteInterceptorRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.DeleteInterceptorResponse>) responseObserver);
          break;
        case METHODID_WATCH_REVISIONS:
          serviceImpl.watchRevisions((pdp.v1.WatchRevisionsRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.WatchRevisionsResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_PUT_INTERCEPTOR:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.putInterceptor(
              (io.grpc.stub.StreamObserver<pdp.v1.PutInterceptorResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getGetStatusMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.GetStatusRequest,
              pdp.v1.GetStatusResponse>(
                service, METHODID_GET_STATUS)))
        .addMethod(
          getReloadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.ReloadRequest,
              pdp.v1.ReloadResponse>(
                service, METHODID_RELOAD)))
        .addMethod(
          getListInterceptorsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.ListInterceptorsRequest,
              pdp.v1.ListInterceptorsResponse>(
                service, METHODID_LIST_INTERCEPTORS)))
        .addMethod(
          getPutInterceptorMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              pdp.v1.PutInterceptorRequest,
              pdp.v1.PutInterceptorResponse>(
                service, METHODID_PUT_INTERCEPTOR)))
        .addMethod(
          getDeleteInterceptorMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.DeleteInterceptorRequest,
              pdp.v1.DeleteInterceptorResponse>(
                service, METHODID_DELETE_INTERCEPTOR)))
        .addMethod(
          getWatchRevisionsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              pdp.v1.WatchRevisionsRequest,
              pdp.v1.WatchRevisionsResponse>(
                service, METHODID_WATCH_REVISIONS)))
        .build();
  }

  private static abstract class AdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    AdminServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return pdp.v1.AdminServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("AdminService");
    }
  }

  private static final class AdminServiceFileDescriptorSupplier
      extends AdminServiceBaseDescriptorSupplier {
    AdminServiceFileDescriptorSupplier() {}
  }

  private static final class AdminServiceMethodDescriptorSupplier
      extends AdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    AdminServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (AdminServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new AdminServiceFileDescriptorSupplier())
              .addMethod(getGetStatusMethod())
              .addMethod(getReloadMethod())
              .addMethod(getListInterceptorsMethod())
              .addMethod(getPutInterceptorMethod())
              .addMethod(getDeleteInterceptorMethod())
              .addMethod(getWatchRevisionsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
